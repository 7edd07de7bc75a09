"""The settings that tap and target have in common, and the faults that any setting may have."""

from __future__ import annotations

import ipaddress
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from singer_sdk import typing as th
from singer_sdk.plugin_base import JSONSchemaValidator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema import ValidationError

# Contract: "Public API", "Legacy domain" and "Developer API".
PUBLIC_URLS = {
    "us": "https://event-streams.workato.com",
    "eu": "https://event-streams.eu.workato.com",
    "jp": "https://event-streams.jp.workato.com",
    "sg": "https://event-streams.sg.workato.com",
    "au": "https://event-streams.au.workato.com",
    "trial": "https://event-streams.trial.workato.com",
}
WORKSPACE_URLS = {
    "us": "https://www.workato.com",
    "eu": "https://app.eu.workato.com",
    "jp": "https://app.jp.workato.com",
    "sg": "https://app.sg.workato.com",
    "au": "https://app.au.workato.com",
    "trial": "https://app.trial.workato.com",
}

# The words that the SDK takes for true, and their opposites; it takes all others for false.
BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}

COMMON_SETTINGS = (
    th.Property(
        "api_token",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="API token",
        description="Token of an API client that may use the topics",
    ),
    th.Property(
        "data_center",
        th.StringType(allowed_values=list(PUBLIC_URLS)),
        default="us",
        title="Data center",
        description="Where the workspace is",
    ),
    th.Property(
        "api_url",
        th.StringType,
        title="API URL",
        description="Base URL of the messages API, in place of the data center's",
    ),
    th.Property(
        "legacy_api",
        th.BooleanType,
        default=False,
        title="Legacy API",
        description="Use the paths of the legacy domain",
    ),
    th.Property(
        "max_requests_per_minute",
        th.IntegerType(minimum=1),
        title="Max requests per minute",
        description="Most requests to send in any minute, retries and long polls included",
    ),
    th.Property(
        "request_timeout_secs",
        th.NumberType(exclusive_minimum=0),
        default=30,
        title="Request timeout (seconds)",
        description="How long to wait for an answer, on top of a long poll",
    ),
    th.Property(
        "max_retry_secs",
        th.NumberType(minimum=0),
        default=300,
        title="Max retry time (seconds)",
        description="How long one request may be retried in all",
    ),
    th.Property(
        "developer_api_token",
        th.StringType(min_length=1),
        secret=True,
        title="Developer API token",
        description="Token of the Developer API, which knows the workspace's topics and schemas",
    ),
    th.Property(
        "developer_api_url",
        th.StringType,
        title="Developer API URL",
        description="Base URL of the Developer API, in place of the data center's",
    ),
)


def base_url(config: Mapping[str, Any]) -> str:
    """The base URL of the messages API, without a slash at its end."""
    urls = WORKSPACE_URLS if config["legacy_api"] else PUBLIC_URLS
    return str(config.get("api_url") or urls[config["data_center"]]).rstrip("/")


def developer_url(config: Mapping[str, Any]) -> str:
    """The base URL of the Developer API, without a slash at its end."""
    url = config.get("developer_api_url") or WORKSPACE_URLS[config["data_center"]]
    return str(url).rstrip("/")


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


def faults(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Fill in the defaults, and find everything that is wrong with the settings.

    Args:
        config: The settings; defaults are added to them.
        schema: The JSON Schema of the settings.

    Returns:
        One line for each fault, without the values of secrets.
    """
    errors = JSONSchemaValidator(schema).iter_errors(config)
    found = [_in_words(error) for error in errors]
    for api in ("api", "developer_api"):
        for name, check in ((f"{api}_token", _token_fault), (f"{api}_url", _url_fault)):
            if fault := check(config.get(name)):
                found.append(f"{name}: {fault}")
    return found


def strangers(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
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


def _token_fault(token: object) -> str | None:
    if isinstance(token, str) and not re.fullmatch(r"[!-~]+", token):
        return "holds white space, a line break or another character that no token has"
    return None


def _url_fault(url: object) -> str | None:
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        return "is not a URL that begins with https://"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must hold no user name, password, query or fragment"
    if parts.scheme == "http" and not _is_loopback(host):
        return "clear-text http would show the token; use https"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
