"""Validates records against the schemas of their streams, without rounding numbers."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import InvalidJSONSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_INT_DIGITS = 4300
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class Validator:
    """Validates the records of a stream.

    The SDK's validator compares decimals with floats, so that ``multipleOf: 0.01`` rejects 1.10.

    Args:
        schema: The JSON Schema of the stream.

    Raises:
        InvalidJSONSchema: The schema is not a JSON Schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        import jsonschema_rs  # noqa: PLC0415 - only with validate_records

        try:
            # Draft 7 without formats, like the SDK. References to other hosts are not resolved.
            self._validator = jsonschema_rs.Draft7Validator(
                schema, validate_formats=False, offline=True
            )
        except (ValueError, RecursionError) as exc:
            raise InvalidJSONSchema("not a JSON Schema") from exc

    def problem(self, record: bytes) -> str | None:
        """Return the rule that a record violates, without its content; None if it is valid.

        An exception during validation is also a problem of the record, and does not end the run.
        """
        try:
            value = json.loads(
                _SURROGATE.sub(rb"\\ufffd", record), parse_float=Decimal, parse_int=_integer
            )
            error = next(iter(self._validator.iter_errors(value)), None)
        except Exception as exc:  # noqa: BLE001 - see above
            return f"cannot be validated ({type(exc).__name__})"
        if error is None:
            return None
        path = _path(error.schema_path)
        if error.schema_path[-1] == "required":
            return f"{path} violates the stream's schema: {error.message}"
        return f"{path} violates `{error.schema_path[-1]}` of the stream's schema"


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= MAX_INT_DIGITS else Decimal(text)


def _path(schema_path: Sequence[str | int]) -> str:
    """Return the path of a field in the schema; names that are only in the record may be data."""
    path, parts = "$", iter(schema_path[:-1])
    for part in parts:
        if part == "properties":
            path += f".{next(parts, '')}"
        elif part == "items":
            path += "[*]"
        elif part in {"additionalProperties", "patternProperties"}:
            path += ".*"
    return path
