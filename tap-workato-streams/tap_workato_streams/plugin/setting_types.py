"""Converts settings that are given as text, for example in environment variables."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
