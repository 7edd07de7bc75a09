"""Writes the results as tables to docs/compatibility.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tests.tools.matrix.plugins import ROOT, PluginFailedError
from tests.tools.matrix.services import NotInstalledError
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
        lost: The plugin that lost rows, if any.
        skipped: Why the pipeline was not run, if it was not.
    """

    pipeline: str
    rows: str = ""
    changes: list[tuple[str, str]] = field(default_factory=list)
    failure: str | None = None
    lost: str | None = None
    skipped: str | None = None

    def add(self, plugin: str, comparison: Comparison) -> None:
        """Add the comparison of the rows before and after a stage."""
        self.rows = f"{comparison.arrived:,} of {comparison.expected:,}"
        for column, change in comparison.differences.items():
            self.changes.append((plugin, f"`{column}`: {change}"))
        if not comparison.complete and self.lost is None:
            self.lost = plugin

    def remark(self, plugin: str, what: str) -> None:
        """Add what a plugin does with the rows, apart from changing values."""
        self.changes.append((plugin, what))

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

    def is_caused_by(self, plugins: tuple[str, ...]) -> bool:
        """Whether one of these plugins failed, lost a row or changed a value."""
        return bool(self.blamed & set(plugins)) or (self.failure or "").startswith(plugins)

    @property
    def notes(self) -> str:
        """The reasons if the verdict is not "works"."""
        notes = [self.failure] if self.failure else []
        notes += [f"{self.lost} loses rows ({self.rows} arrived)"] if self.lost else []
        for plugin in dict.fromkeys(plugin for plugin, _ in self.changes):
            changes = "; ".join(change for each, change in self.changes if each == plugin)
            notes.append(f"{plugin}: {changes}")
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
    except NotInstalledError as exc:
        result.skipped = str(exc)
        print(f"SKIPPED: {pipeline}: {exc}", flush=True)


@dataclass(frozen=True)
class Table:
    """A table on the page, from the comment with its name to the next empty line.

    A row with its first cell alone was skipped: the page keeps the row that it has.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self, before: Sequence[str]) -> str:
        """The table in Markdown; `before` are the lines of the table on the page."""
        lines = [_line(self.columns), _line(["---"] * len(self.columns))]
        for row in self.rows:
            kept = [line for line in before if line.startswith(_line(row[:1]))]
            lines += kept if len(row) == 1 else [_line(row)]
        return "\n".join(lines)

    def __str__(self) -> str:
        """The table in Markdown, without the rows that were skipped."""
        return self.markdown([])


def summary(name: str, results: Iterable[Result]) -> Table:
    """Build the table of pipelines."""
    rows = [
        [each.pipeline] if each.skipped else [each.pipeline, each.rows, str(each)]
        for each in results
    ]
    return Table(name, ["Plugins", "Rows", "Result"], rows)


def by_topic(name: str, results: Iterable[Result]) -> Table:
    """Build a table with a row per loader and a column per topic.

    A cell leaves out the changes that the cell before it has.
    """
    rows: dict[str, list[str]] = {}
    columns = ["Loader"]
    known: set[tuple[str, str]] = set()
    for each in results:
        loader, _, topic = each.pipeline.rpartition(", ")
        columns = list(dict.fromkeys([*columns, topic]))
        row = rows.setdefault(loader, [])
        new = [change for change in each.changes if not row or change not in known]
        known = set(each.changes)
        cell = str(replace(each, changes=new))
        # The row says which loader it is.
        row.append(re.sub(rf"{loader.partition(' ')[0]}:? ", "", cell))
    return Table(name, columns, [[loader, *cells] for loader, cells in rows.items()])


def write(tables: Iterable[Table]) -> None:
    """Replace the tables on the page."""
    PAGE.write_text(_with_tables(tables), encoding="utf-8")


def differences(tables: Iterable[Table]) -> list[str]:
    """Return the lines of the tables that the page does not have."""
    page = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in _with_tables(tables).splitlines() if line not in page]


def _with_tables(tables: Iterable[Table]) -> str:
    text = PAGE.read_text(encoding="utf-8")
    for table in tables:
        begin = f"<!-- {table.name}: written by `make matrix` -->\n"
        before, found, after = text.partition(begin)
        if not found:
            raise ValueError(f"{PAGE.name} has no marker for the table {table.name!r}")
        old, _, after = after.partition("\n\n")
        text = f"{before}{begin}{table.markdown(old.splitlines())}\n\n{after}"
    return text


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
