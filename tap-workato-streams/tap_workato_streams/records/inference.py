"""Infers columns from sample payloads, which are split but not decoded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..plugin.json_scanner import members
from .columns import Column, is_column_name
from .json_values import (
    ARRAY,
    BOOLEAN,
    FORMAT_PATTERNS,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    has_format,
    is_storable,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .columns import Columns

# A single string may look like a date by chance.
MIN_FORMAT_SAMPLES = 2


def infer_columns(payloads: Iterable[bytes], levels: int, *, formats: bool = True) -> Columns:
    """Infer the columns of payloads.

    Args:
        payloads: Samples; one that is not an object is ignored.
        levels: How many levels of objects below the payload are flattened.
        formats: Whether strings may become date and date-time columns.

    Returns:
        A column for each field that has a value. A field that is null in every sample has no type
        yet.
    """
    samples: dict[str, list[bytes]] = {}
    for payload in payloads:
        try:
            fields = members(payload)
        except ValueError:
            continue
        for name, raw in fields.items():
            samples.setdefault(name, []).append(raw)
    columns = {
        name: infer_column(values, levels, formats=formats)
        for name, values in samples.items()
        if is_column_name(name)
    }
    return {name: column for name, column in columns.items() if column}


def infer_column(values: Sequence[bytes], levels: int, *, formats: bool = True) -> Column | None:
    """Infer one column from the values of a field; None if they have no type."""
    typed = [(type_of(raw), raw) for raw in values if is_storable(raw)]
    counts = Counter(kind for kind, _ in typed)
    # An integer beyond 64 bits fits in no column, so it must not affect the type.
    scalars = {STRING, INTEGER, NUMBER, BOOLEAN} & counts.keys()
    shapes = {
        OBJECT: counts[OBJECT],
        ARRAY: counts[ARRAY],
        "scalar": sum(counts[kind] for kind in scalars),
    }
    shape = max(shapes, key=lambda each: shapes[each])
    if not shapes[shape]:
        return None
    if shape == ARRAY:
        return Column((ARRAY,))
    if shape == OBJECT:
        objects = [raw for kind, raw in typed if kind == OBJECT]
        fields = infer_columns(objects, levels - 1, formats=formats) if levels else {}
        return Column((OBJECT,), fields=fields or None)
    kind = _scalar(scalars)
    texts = [raw for found, raw in typed if found == STRING]
    return Column((kind,), _format(texts) if formats and scalars == {STRING} else None)


def _scalar(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    return NUMBER if kinds == {INTEGER, NUMBER} else STRING


def _format(texts: Sequence[bytes]) -> str | None:
    if len(texts) < MIN_FORMAT_SAMPLES:
        return None
    return next((each for each in FORMAT_PATTERNS if all(has_format(t, each) for t in texts)), None)
