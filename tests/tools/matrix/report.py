"""Writes the results as tables to docs/compatibility.md."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.tools.matrix.plugins import ROOT, PluginFailedError
from tests.tools.matrix.setting import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.tools.matrix.values import Comparison

PAGE = ROOT / "docs" / "compatibility.md"


@dataclass
class Result:
    """The result of one pipeline.

    Attributes:
        pipeline: All plugins of the pipeline.
        rows: The number of rows that arrived, and the number that were sent.
        changes: The changes of values, by the name of the plugin that made them.
        failure: The error, if the pipeline failed.
    """

    pipeline: str
    rows: str = ""
    changes: list[tuple[str, str]] = field(default_factory=list)
    failure: str | None = None
    lost: str | None = None

    def add(self, plugin: str, comparison: Comparison) -> None:
        """Add the comparison of the rows before and after a stage."""
        self.rows = f"{comparison.arrived:,} of {comparison.expected:,}"
        for column, change in comparison.differences.items():
            self.changes.append((plugin, f"`{column}`: {change}"))
        if not comparison.complete and self.lost is None:
            self.lost = plugin

    @property
    def verdict(self) -> str:
        """Whether the pipeline works, works with a caveat, or does not work."""
        if self.failure or self.lost:
            return "does not work"
        return "works with a caveat" if self.changes else "works"

    @property
    def blamed(self) -> set[str]:
        """The plugins that lost or changed data."""
        return {plugin for plugin, _ in self.changes} | ({self.lost} if self.lost else set())

    @property
    def notes(self) -> str:
        """The reasons if the verdict is not "works"."""
        notes = [self.failure] if self.failure else []
        notes += [f"{self.lost} loses rows ({self.rows} arrived)"] if self.lost else []
        for plugin in dict.fromkeys(plugin for plugin, _ in self.changes):
            changes = "; ".join(change for each, change in self.changes if each == plugin)
            notes.append(f"{plugin} changes {changes}")
        return ", ".join(notes)

    def __str__(self) -> str:
        """The verdict and its reasons."""
        return ": ".join(filter(None, [self.verdict, self.notes]))


@contextmanager
def result_of(pipeline: str) -> Iterator[Result]:
    """Yield the result of a pipeline; if a plugin fails in the block, the result says so."""
    result = Result(pipeline)
    try:
        yield result
    except PluginFailedError as exc:
        result.failure = str(exc)


@dataclass(frozen=True)
class Table:
    """A table on the page, between markers with its name."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """The table in Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "".join(f"| {' | '.join(map(_escape, line))} |\n" for line in lines)


def summary(name: str, results: Iterable[Result]) -> Table:
    """Build the table of pipelines."""
    rows = [[each.pipeline, each.rows, str(each)] for each in results]
    return Table(name, ["Plugins", "Rows", "Result"], rows)


def by_format(name: str, results: Iterable[Result]) -> Table:
    """Build a table with a row per loader, and a column per record format."""
    rows: dict[str, list[str]] = {}
    for each in results:
        loader, _, _ = each.pipeline.rpartition(", ")
        # The row says which loader it is.
        result = str(each).replace(f"{loader.partition(' ')[0]} ", "")
        rows.setdefault(loader, []).append(result)
    columns = ["Loader", *(f"{each.capitalize()} records" for each in FORMATS)]
    return Table(name, columns, [[loader, *cells] for loader, cells in rows.items()])


def write(tables: Iterable[Table]) -> None:
    """Replace the tables on the page."""
    text = PAGE.read_text(encoding="utf-8")
    for table in tables:
        begin, end = f"<!-- {table.name}: written by `make matrix` -->\n", "<!-- end -->"
        before, found, after = text.partition(begin)
        if not found:
            raise ValueError(f"{PAGE.name} has no marker for the table {table.name!r}")
        text = f"{before}{begin}\n{table}\n{end}{after.partition(end)[2]}"
    PAGE.write_text(text, encoding="utf-8")


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
