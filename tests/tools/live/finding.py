"""The result of a check, and the table of all results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap

WIDTHS = (30, 44, 44, 4)


@dataclass(frozen=True)
class Finding:
    """An assumption, the observation, and whether the assumption holds."""

    subject: str
    assumed: str
    seen: str
    same: bool

    def line(self) -> str:
        """Return the finding as a line; only a difference shows what was seen."""
        differs = f"NOT the same: {self.seen}; assumed: {self.assumed}"
        return f"{self.subject}: {'same' if self.same else differs}"


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as a table for a terminal."""
    rule = "  ".join("-" * width for width in WIDTHS)
    lines = [_line(["", "assumed", "seen", "same"]), rule]
    for each in findings:
        columns = [each.subject, each.assumed, each.seen, "yes" if each.same else "NO"]
        cells = [wrap(text, width) or [""] for text, width in zip(columns, WIDTHS, strict=True)]
        lines += [_line(row) for row in zip_longest(*cells, fillvalue="")]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return "  ".join(padded).rstrip()
