"""The comparison behind docs/compatibility.md recognizes how a plugin changes values."""

from decimal import Decimal
from typing import Any

import pytest

from tests.tools.matrix.values import compare

# A value, what arrived, and the difference, if it is more than one of notation.
VALUES: list[tuple[Any, Any, str | None]] = [
    (Decimal("1.10"), Decimal("1.1"), None),
    ("2026-11-24T12:00:00+01:00", "2026-11-24T11:00:00Z", None),
    ({"a": [1, None]}, {"a": [1, None]}, None),
    (None, None, None),
    (Decimal("1.10"), "1.10", "as text"),
    (12345678901234567890, Decimal(12345678901234567000), "rounded to 53 bits"),
    ("2026-11-24T12:00:00+00:00", "2026-11-24T12:00:00", "without time zone"),
    ("\\x0000ff", "0000ff", "hexadecimal text without `\\x`"),
    ({"a": 1}, '{"a": 1}', "as JSON text"),
    ({"a": 1}, "{'a': 1}", "as Python or PostgreSQL text, not JSON"),
    ("text", None, "`text` becomes `null`"),
    (True, 1, "`true` becomes `1`"),
    ("a", "b", "`a` becomes `b`"),
]


@pytest.mark.parametrize(("sent", "arrived", "difference"), VALUES)
def test_differences_are_described(sent, arrived, difference):
    comparison = compare({"1": {"c": sent}}, {"1": {"c": arrived}}, ["c"])
    assert comparison.complete
    assert comparison.differences == ({"c": difference} if difference else {})


def test_missing_rows_and_columns_are_found():
    comparison = compare({"1": {"c": 1}, "2": {"c": 2}}, {"1": {}}, ["c"])
    assert (comparison.expected, comparison.arrived, comparison.complete) == (2, 1, False)
    assert comparison.differences == {"c": "absent"}
