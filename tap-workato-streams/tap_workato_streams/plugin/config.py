"""The config of both connectors: its files, its types, and all of its problems at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import JSONSchemaValidator, PluginBase, _ConfigInput
from typing_extensions import override

from ..event_streams import CONNECTOR
from ..event_streams.errors import SettingError
from ..event_streams.hosts import is_loopback
from ..event_streams.quota import quota_url_problems
from .json import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
    from jsonschema import ValidationError


def read_json(file: IO[str], label: str) -> Any:  # noqa: ANN401 - JSON
    """Read a JSON file.

    Args:
        file: The open file.
        label: The description of the file in errors, such as ``state file state.json``.

    Raises:
        SettingError: Its content is not JSON.
    """
    try:
        return decode(file.read())
    except json.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}"
    except UnicodeDecodeError as exc:
        reason = f"not UTF-8 at byte {exc.start + 1}"
    except RecursionError:
        reason = "nested too deeply"
    raise SettingError(f"{label}: not JSON ({reason})")


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a config file.

    Raises:
        SettingError: The file does not exist, or does not contain a JSON object.
    """
    label = f"config file {path}"
    try:
        with Path(path).open(encoding="utf-8") as file:
            config = read_json(file, label)
    except OSError as exc:
        raise SettingError(f"{label}: cannot be read ({exc.strerror})") from exc
    if not isinstance(config, dict):
        raise SettingError(f"{label}: not a JSON object of settings")
    return config


# The SDK's words for true, and their opposites; the SDK treats all other words as false.
BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def typed(config: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Convert the settings that were given as text to their types.

    Args:
        config: The settings as given.
        schema: The JSON Schema of the settings.

    Returns:
        The settings. Empty strings count as not set; a string that cannot be converted is kept,
        so that ``problems`` reports it.
    """
    return {
        name: _typed(value, schema["properties"].get(name, {}))
        for name, value in config.items()
        if value is not None and value != ""
    }


def _typed(value: Any, schema: object) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(schema, dict) or not schema:
        return value
    kinds = schema.get("type", [])
    if isinstance(value, str) and kinds and "string" not in kinds:
        value = _parse(value, kinds)
    # Meltano inserts environment variables into arrays and objects as text.
    if isinstance(value, list):
        return [_typed(each, schema.get("items")) for each in value]
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {name: _typed(each, named.get(name, others)) for name, each in value.items()}
    if isinstance(value, Decimal):
        value = float(
            value
        )  # The SDK parses numbers in a config file in the same way; seconds are floats.
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and "integer" in kinds else value


def _parse(text: str, kinds: list[str]) -> Any:  # noqa: ANN401 - JSON
    if "boolean" in kinds:
        return BOOLEANS.get(text.lower(), text)
    try:
        return json.loads(text)
    except ValueError:
        return text


# A label of a host name; underscores occur in internal networks.
LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
MAX_HOST_LENGTH = 253


def connection_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Check tokens, URLs and addresses; values may have a wrong type.

    Yields:
        One line for each problem, without the values, which may be secrets.
    """
    checks = {
        "api_token": _token_problem,
        "api_url": _url_problem,
        "developer_api_token": _token_problem,
        "developer_api_url": _url_problem,
        "metrics_address": _address_problem,
    }
    for name, check in checks.items():
        value = config.get(name)
        if isinstance(value, str) and (problem := check(value)):
            yield f"{name}: {problem}"
    yield from _quota_problems(config)


def _token_problem(token: str) -> str | None:
    if not re.fullmatch(r"[!-~]+", token):
        return "contains whitespace, a line break or another character that tokens cannot have"
    return None


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    # urlsplit drops line breaks.
    if not host or parts.scheme not in {"http", "https"} or not re.fullmatch(r"[!-\[\]-~]+", url):
        return "is not a URL that begins with https://"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must not contain a user name, password, query or fragment"
    if not _is_host(host) or port == 0:
        return "does not contain a valid host"
    if parts.scheme == "http" and not is_loopback(host):
        return "http would send the token in clear text; use https"
    return None


def _address_problem(address: str) -> str | None:
    try:
        parts = urlsplit(f"//{address}")
        has_both = parts.port is not None and _is_host(parts.hostname or "")
    except ValueError:
        has_both = False
    if not has_both or "@" in address or "/" in address:
        return "must be host:port, such as 127.0.0.1:9464"
    return None


def _is_host(host: str) -> bool:
    if ":" in host:
        return True  # An IPv6 address, which urlsplit has validated.
    labels = host.removesuffix(".").split(".")
    return len(host) <= MAX_HOST_LENGTH and all(LABEL.fullmatch(label) for label in labels)


def _quota_problems(config: Mapping[str, Any]) -> Iterator[str]:
    url = config.get("quota_url")
    if not isinstance(url, str):
        return
    for problem in quota_url_problems(url):
        yield f"quota_url: {problem}"
    if config.get("max_requests_per_minute") is None:
        yield "quota_url: requires max_requests_per_minute, the quota that all processes share"


# About 30 years; the operating system does not support much longer timeouts.
MAX_SECS = 1_000_000_000
# The text for a value that violates a keyword of JSON Schema.
RULES = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must not be empty",
}


def problems(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Add the defaults, and find all problems with the settings.

    Args:
        config: The settings; defaults are added to them.
        schema: The JSON Schema of the settings.

    Returns:
        One line for each problem.
    """
    errors = list(JSONSchemaValidator(schema).iter_errors(config))
    rejected = {error.absolute_path[0] for error in errors if error.absolute_path}
    return [
        *[_line(error) for error in errors],
        *connection_problems(config),
        *[f"{name}: must be at most {MAX_SECS}" for name in sorted(_too_long(config) - rejected)],
        *_missing_extras(config),
    ]


def unknown_settings(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """Find settings that do not exist, such as misspelled ones.

    Args:
        config: The settings as given.
        schema: The JSON Schema of the settings.

    Returns:
        One line for each unknown setting.
    """
    known = list(schema["properties"])
    names = sorted(config.keys() - known)
    if not names:
        return []
    from difflib import get_close_matches  # noqa: PLC0415 - rarely needed

    lines = []
    for name in names:
        nearest = get_close_matches(name, known, 1)
        advice = f"; did you mean {nearest[0]}?" if nearest else ""
        lines.append(f"{name}: unknown setting, ignored{advice}")
    return lines


def _line(error: ValidationError) -> str:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.absolute_path)
    rule: Any = error.validator_value
    if error.validator == "type":
        kinds = [rule] if isinstance(rule, str) else [kind for kind in rule if kind != "null"]
        text = f"must be of type {' or '.join(kinds)}"
    elif error.validator == "enum":
        text = f"must be one of {', '.join(str(value) for value in rule if value is not None)}"
    elif error.validator == "required":
        # There is an error for each missing setting, which is only in the message.
        path += f".{error.message.split(chr(39))[1]}"
        text = "must be set"
    elif error.validator == "additionalProperties":
        given: Any = error.instance
        schema: Any = error.schema
        unknown = sorted(given.keys() - schema.get("properties", {}).keys())
        text = f"unknown setting {', '.join(unknown)}"
    else:
        text = RULES.get(str(error.validator), f"is rejected by {error.validator}").format(rule)
    return f"{path.lstrip('.')}: {text}" if path else text


def _too_long(config: Mapping[str, Any]) -> set[str]:
    """Return the names of durations that are too long; NaN passes every rule of JSON Schema."""
    return {
        name
        for name, value in config.items()
        if name.endswith("_secs") and isinstance(value, int | float) and not value <= MAX_SECS
    }


def _missing_extras(config: Mapping[str, Any]) -> Iterator[str]:
    for setting, module, extra in _libraries(config):
        if find_spec(module) is None:
            advice = f"install {CONNECTOR}[{extra}] instead of {CONNECTOR}"
            yield f"{setting} needs the extra {extra}; {advice}"


def _libraries(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each setting in use that needs a library, the library's module, and its extra."""
    if config.get("faker_config"):
        yield "faker_config:", "faker", "faker"
    # The SDK would only say that the expression cannot be evaluated.
    if re.search(r"\bfake\.", str(config.get("stream_maps"))):
        yield "stream_maps: fake", "faker", "faker"
    if config.get("metrics_address"):
        yield "metrics_address:", "prometheus_client", "metrics"
    scheme = str(config.get("quota_url")).partition(":")[0]
    if scheme in {"redis", "rediss"}:
        yield f"quota_url: {scheme}://", "redis", "redis"
    if scheme == "postgresql":
        yield "quota_url: postgresql://", "psycopg", "postgres"
    batch = config.get("batch_config")
    storage = batch.get("storage") if isinstance(batch, Mapping) else None
    root = storage.get("root") if isinstance(storage, Mapping) else None
    if isinstance(root, str) and root.startswith("s3://"):
        yield "batch_config: s3://", "s3fs", "s3"


class CheckedPlugin(PluginBase):
    """A plugin that parses and validates its settings itself.

    The SDK has no public hook that runs before discovery. Its own validation fails for an empty
    environment variable where a number is expected, is limited to JSON Schema, and shows secrets.
    """

    @classmethod
    def own_problems(cls, config: Mapping[str, Any]) -> list[str]:
        """Yield a line for each problem with the settings that only this plugin has.

        Args:
            config: The settings, with their defaults; values may have a wrong type.
        """
        raise NotImplementedError

    @classmethod
    @override
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        """Read the config files, of which later ones override earlier ones."""
        config: dict[str, Any] = {}
        for path in value:
            if path != "ENV":
                config |= read_config(path)
        return _ConfigInput(config=config, parse_env="ENV" in value)

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a classproperty
        """The settings in the environment, as text."""
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        texts = {name: {"type": "string"} for name in schema["properties"]}
        return parse_environment_config({"properties": texts}, cls._env_var_prefix)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Convert the settings to their types, add defaults, and report all problems together."""
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        for line in unknown_settings(self._config, schema):
            self.logger.warning("%s", line)
        self._config = typed(self._config, schema)
        errors = [*problems(self._config, schema), *self.own_problems(self._config)]
        if errors and raise_errors:
            raise ConfigValidationError("invalid settings", errors=errors, schema=schema)
        return errors
