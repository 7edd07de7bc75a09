"""Topic schemas in Workato's format: validation of payloads, and of the schemas themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from workato_streams_emulator.clock import RFC_3339

Field = dict[str, Any]
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "date": lambda value: isinstance(value, str) and bool(DATE.fullmatch(value)),
    "date_time": lambda value: isinstance(value, str) and bool(DATE_TIME.fullmatch(value)),
    "timestamp": lambda value: isinstance(value, str) and bool(RFC_3339.fullmatch(value)),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}


def mismatch(payload: bytes, schema: list[Field]) -> str | None:
    """Return why a payload does not match a topic's schema, or None if it does.

    The reason names the field and the expected type, but not the value.
    """
    if not schema:
        return None
    # Only types are checked, so a number of any length must be accepted.
    try:
        decoded = json.loads(payload, parse_int=lambda _: 0, parse_float=lambda _: 0.5)
    except RecursionError:
        return "the message is nested too deeply"
    return _object_mismatch(decoded, schema, "")


def _object_mismatch(value: dict[str, Any], fields: list[Field], path: str) -> str | None:
    for field in fields:
        name = f"{path}{field['name']}"
        if value.get(field["name"]) is None:
            if not field.get("optional", False):
                return f"{name}: is missing"
            continue
        reason = _value_mismatch(value[field["name"]], field.get("type", "string"), field, name)
        if reason:
            return reason
    return None


def _value_mismatch(value: object, kind: str, field: Field, name: str) -> str | None:
    if not CHECKS[kind](value):
        return f"{name}: expected {kind}"
    if isinstance(value, dict):
        return _object_mismatch(value, field.get("properties", []), f"{name}.")
    if isinstance(value, list) and "of" in field:
        # The format does not define the items of an array within an array.
        element = {key: about for key, about in field.items() if key != "of"}
        reasons = (
            _value_mismatch(item, field["of"], element, f"{name}[{index}]")
            for index, item in enumerate(value)
        )
        return next(filter(None, reasons), None)
    return None


def malformed(schema: object, path: str = "schema") -> str | None:
    """Return the problem with a schema, or None if it is valid."""
    if not isinstance(schema, list):
        return f"{path} must be an array of fields"
    for index, field in enumerate(schema):
        at = f"{path}[{index}]"
        if not isinstance(field, dict) or not isinstance(field.get("name"), str):
            return f"{at} must be an object with a name"
        kinds = {field.get("type", "string"), field.get("of", "string")}
        if not kinds <= CHECKS.keys():
            return f"{at} has a type that does not exist"
        if field.get("type") == "array" and "of" not in field:
            return f"{at} is an array and must say of what"
        if "object" in kinds:
            reason = malformed(field.get("properties"), f"{at}.properties")
            if reason:
                return reason
    return None
