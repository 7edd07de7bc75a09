"""Checking all settings before anything else happens, and telling every fault in words."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import JSONSchemaValidator
from typing_extensions import override

from .connection_problems import connection_problems
from .extras import missing_extras
from .input_files import ConfigFilePlugin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema import ValidationError

# The words that the SDK takes for true, and their opposites; it takes all others for false.
BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class CheckedPlugin(ConfigFilePlugin):
    """A plugin whose settings are read and checked here, in place of the SDK's own way.

    The SDK has no public place that comes before discovery. Its reading of the environment fails
    on an empty text where a number is due; its check knows JSON Schema alone, and shows secrets.
    """

    @classmethod
    def own_problems(cls, config: Mapping[str, Any]) -> list[str]:
        """Find what is wrong with settings that only this plugin has, one line for each fault.

        Args:
            config: The settings, with their defaults; values may be of a wrong type.
        """
        raise NotImplementedError

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        """The settings that are in the environment, as the texts that they are there."""
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        texts = {name: {"type": "string"} for name in schema["properties"]}
        return parse_environment_config({"properties": texts}, cls._env_var_prefix)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Give the settings their types and defaults, and find all faults at once."""
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        for line in unknown_settings(self._config, schema):
            self.logger.warning("%s", line)
        self._config = typed(self._config, schema)
        errors = [*problems(self._config, schema), *self.own_problems(self._config)]
        if errors and raise_errors:
            raise ConfigValidationError("Settings are wrong", errors=errors, schema=schema)
        return errors


def typed(config: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Give settings that came as text, as from environment variables, their own type.

    Args:
        config: The settings as they came.
        schema: The JSON Schema of the settings.

    Returns:
        The settings; one that is an empty text counts as not set, and a text that does not read as
        its type is left for ``faults`` to report.
    """
    return {
        name: _typed(value, schema["properties"].get(name, {}))
        for name, value in config.items()
        if value is not None and value != ""
    }


def problems(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Fill in the defaults, and find everything that is wrong with the settings.

    Args:
        config: The settings; defaults are added to them.
        schema: The JSON Schema of the settings.

    Returns:
        One line for each fault, without the values of secrets.
    """
    errors = JSONSchemaValidator(schema).iter_errors(config)
    found = [_in_words(error) for error in errors]
    found.extend(connection_problems(config))
    found.extend(missing_extras(config))
    return found


def unknown_settings(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """Find the settings that nobody reads: a misspelled one would be passed over in silence.

    Args:
        config: The settings as they came.
        schema: The JSON Schema of the settings.

    Returns:
        One line for each, without its value: it may be a secret under another name.
    """
    known = list(schema["properties"])
    names = sorted(config.keys() - known)
    if not names:
        return []
    from difflib import get_close_matches  # noqa: PLC0415 - seldom needed

    lines = []
    for name in names:
        nearest = get_close_matches(name, known, 1)
        advice = f"; did you mean {nearest[0]}?" if nearest else ""
        lines.append(f"{name}: there is no such setting, and it is passed over{advice}")
    return lines


def _typed(value: Any, schema: object) -> Any:  # noqa: ANN401
    if not isinstance(schema, dict) or not schema:
        return value
    kinds = schema.get("type", [])
    if isinstance(value, str) and kinds and "string" not in kinds:
        value = _read(value, kinds)
    # Meltano puts an environment variable into a list or an object as text.
    if isinstance(value, list):
        return [_typed(each, schema.get("items")) for each in value]
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {name: _typed(each, named.get(name, others)) for name, each in value.items()}
    if isinstance(value, Decimal):
        value = float(value)  # the SDK reads a config file so, and seconds are reckoned in floats
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and "integer" in kinds else value


def _read(text: str, kinds: list[str]) -> Any:  # noqa: ANN401
    if "boolean" in kinds:
        return BOOLEANS.get(text.lower(), text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _in_words(error: ValidationError) -> str:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.absolute_path)
    words = error.message
    if error.validator == "type":
        # The message would repeat the value, which may be a secret, or hold one.
        kinds: Any = error.validator_value
        named = [kinds] if isinstance(kinds, str) else [k for k in kinds if k != "null"]
        words = f"must be of type {' or '.join(named)}"
    return f"{path.lstrip('.')}: {words}" if path else words
