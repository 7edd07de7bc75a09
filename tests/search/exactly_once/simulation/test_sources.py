"""The simulated tables emit what a tap of the Meltano SDK emits."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from singer_sdk import Tap
from singer_sdk.streams import Stream
from target_workato_streams.delivery.positions import STARTING

from tests.search.exactly_once.simulation.history import TABLES
from tests.search.exactly_once.simulation.sources import INCREMENTAL, VALUE, Bookmarks, Source
from tests.search.exactly_once.simulation.world import Options, Record

FREQUENCY = 3


class Table(Stream):
    """A stream of the SDK, with the rows that the simulated tap has emitted, in their order."""

    STATE_MSG_FREQUENCY = FREQUENCY
    schema: ClassVar = {"properties": {"id": {"type": "string"}, "update": {"type": "integer"}}}

    def __init__(self, tap: Tap, name: str, kind: str, rows: Sequence[Record]) -> None:
        super().__init__(tap, name=name)
        self.replication_key = "update" if kind in INCREMENTAL else None
        self._kind, self._rows = kind, rows

    @property
    def is_sorted(self) -> bool:
        """Whether the SDK may resume within the table."""
        return self._kind != "unsorted"

    def get_records(self, context: object) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Yield the rows."""
        for row in self._rows:
            yield {"id": row.row, "update": row.update}


class SdkTap(Tap):
    """A tap with one table per stream, in sequence."""

    name = "tap-simulated"
    config_jsonschema: ClassVar = {"properties": {}}
    tables: ClassVar[list[tuple[str, str, list[Record]]]] = []

    def discover_streams(self) -> list[Table]:
        """Return the tables."""
        return [Table(self, *each) for each in self.tables]


@pytest.mark.parametrize("seed", range(30))
def test_simulated_tables_emit_the_lines_of_the_sdk(seed, capsys, monkeypatch):
    """Each run starts from the last state of the one before, in which full tables are marked."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    kinds = {stream: rng.choice(TABLES) for stream in "ABC"}
    source = Source(rng, kinds, Options(TABLES, rows=9, states=1 / FREQUENCY))
    bookmarks: Bookmarks = {}
    for _ in range(4):
        source.change(15)
        lines = list(source.lines(bookmarks))
        rows = [line for line in lines if isinstance(line, Record)]
        tables = [
            (name, kinds[name], [row for row in rows if row.stream == name]) for name in kinds
        ]
        monkeypatch.setattr(SdkTap, "tables", tables)
        SdkTap(state={"bookmarks": as_of_the_sdk(bookmarks)}).sync_all()
        written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [
            (line["stream"], line["record"]["id"])
            if line["type"] == "RECORD"
            else as_simulated(line["value"]["bookmarks"])
            for line in written
            if line["type"] != "SCHEMA"
        ] == [(line.stream, line.row) if isinstance(line, Record) else line for line in lines]
        last = [line for line in lines if not isinstance(line, Record)][-1]
        bookmarks = {name: bookmark or {STARTING: None} for name, bookmark in last.items()}


def as_of_the_sdk(bookmarks: Bookmarks) -> dict[str, Any]:
    """Add what the simulation leaves out of bookmarks."""
    return {
        name: {**bookmark, **({"replication_key": "update"} if VALUE in bookmark else {})}
        for name, bookmark in bookmarks.items()
    }


def as_simulated(bookmarks: Mapping[str, Any]) -> Bookmarks:
    """Leave out of bookmarks, and of their `progress_markers`, what the simulation does."""
    return {
        name: as_simulated(each) if isinstance(each, Mapping) else each
        for name, each in bookmarks.items()
        if name not in {"Note", "replication_key"}
    }
