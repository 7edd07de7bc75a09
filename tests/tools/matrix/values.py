"""Compares the rows that were sent with the rows that arrived, value by value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

Row = dict[str, Any]
Rows = dict[str, Row]


def decode(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Decode JSON without losing a digit."""
    return json.loads(text, parse_float=Decimal)


def by_key(rows: Iterable[Row], key: str) -> Rows:
    """Return the rows by their key as text."""
    return {str(row[key]): row for row in rows}


@dataclass
class Comparison:
    """The number of rows that arrived, and the differences in each column."""

    expected: int
    arrived: int
    differences: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether each row arrived exactly once."""
        return self.arrived == self.expected


def compare(sent: Rows, arrived: Rows, columns: Iterable[str]) -> Comparison:
    """Compare the rows that were sent with the rows that arrived."""
    found = [key for key in sent if key in arrived]
    differences: dict[str, str] = {}
    for column in columns:
        for key in found:
            difference = _difference(sent[key].get(column), arrived[key].get(column, _ABSENT))
            if difference:
                differences[column] = difference
                break
    return Comparison(len(sent), len(found), differences)


_ABSENT = object()


def _difference(sent: object, arrived: object) -> str | None:
    """Describe how a value differs; None if it is the same value."""
    difference: str | None = f"`{_short(sent)}` becomes `{_short(arrived)}`"
    if arrived is _ABSENT:
        difference = None if sent is None else "absent"
    elif sent == arrived and isinstance(sent, bool) == isinstance(arrived, bool):
        difference = None
    elif isinstance(sent, str) and isinstance(arrived, str):
        difference = _text_difference(sent, arrived)
    elif isinstance(sent, int | Decimal) and not isinstance(sent, bool):
        difference = _number_difference(sent, arrived)
    elif isinstance(arrived, str):
        difference = _json_text(sent, arrived)
    elif isinstance(sent, dict | list) and _rounded(sent) == _rounded(arrived):
        difference = "numbers in it rounded to 53 bits"
    return difference


def _text_difference(sent: str, arrived: str) -> str | None:
    before, after = _moment(sent), _moment(arrived)
    if before is None or after is None:
        if sent.startswith("\\x") and sent[2:] == arrived:
            return "hexadecimal text without `\\x`"
        return f"`{_short(sent)}` becomes `{_short(arrived)}`"
    if before.tzinfo is None:
        same = before == after.replace(tzinfo=None)
        return None if same else f"`{sent}` becomes `{arrived}`"
    if after.tzinfo is None:
        same = before == after.replace(tzinfo=timezone.utc)
        return "without time zone" if same else f"`{sent}` becomes `{arrived}`, without time zone"
    return None if before == after else f"`{sent}` becomes `{arrived}`"


def _number_difference(sent: int | Decimal, arrived: object) -> str:
    if isinstance(arrived, str):
        try:
            return "as text" if Decimal(arrived) == sent else f"`{sent}` becomes `{arrived}`"
        except InvalidOperation:
            return f"`{sent}` becomes `{_short(arrived)}`"
    if isinstance(arrived, int | Decimal) and float(sent) == float(arrived):
        return "rounded to 53 bits"
    return f"`{sent}` becomes `{_short(arrived)}`"


def _json_text(sent: object, arrived: str) -> str:
    try:
        decoded = decode(arrived)
    except ValueError:
        if arrived == repr(sent) or arrived[:1] + arrived[-1:] in {"{}", "[]"}:
            return "as Python or PostgreSQL text, not JSON"
        return f"`{_short(sent)}` becomes `{_short(arrived)}`"
    if decoded == sent:
        return "as JSON text"
    if _rounded(decoded) == _rounded(sent):
        return "as JSON text, numbers in it rounded to 53 bits"
    return f"`{_short(sent)}` becomes `{_short(arrived)}`"


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(value) if isinstance(value, int | Decimal) else value


def _moment(text: str) -> datetime | None:
    """Parse an ISO 8601 date and time; None if the text is something else."""
    if len(text) < len("2026-11-24 00:00:00"):
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def _short(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, str) and value:
        text = text[1:-1]
    return text if len(text) <= 40 else f"{text[:37]}..."
