"""A topic whose payload fields become columns: unpacked, flattened or both."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .discovery.topics import sample
from .event_streams.errors import EventStreamsError
from .output.writer import payload_lines
from .plugin.wording import counted, listed
from .records.columns import (
    MESSAGE_FIELDS,
    RESCUED,
    common,
    from_schema,
    infer_columns,
    merged,
    schemas,
)
from .records.evolution import (
    ADD_COLUMNS,
    CatalogColumns,
    ColumnRegistry,
    Evolution,
    combined,
    evolution_mode,
    from_bookmark,
    key_path,
    key_problem,
    pointer,
)
from .records.record_builder import Shaper
from .records.stream_maps import MappedRecords
from .streams import TopicStream

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Sequence

    from singer_sdk.helpers.types import Record
    from singer_sdk.singerlib import RecordMessage
    from singer_sdk.tap_base import Tap

    from .event_streams.consume import Message
    from .reading.consumer import TopicConsumer
    from .records.columns import Columns, Layout

logger = logging.getLogger("tap-workato-streams")


class TableStream(TopicStream):
    """A topic whose payloads are split into columns."""

    def __init__(self, tap: Tap, consumer: TopicConsumer, layout: Layout) -> None:
        self._layout = layout
        topic = consumer.topic
        columns = from_schema(topic.payload_schema or {}, layout.levels)
        schema = layout.record_schema(ColumnRegistry(layout, columns).columns)
        super().__init__(tap, consumer, schema)
        self._declared = columns if topic.is_declared and topic.payload_schema else None
        self._mode = evolution_mode(self.config, is_declared=self._declared is not None)
        self._bookmarked: Columns | None = None
        self._sampled: Columns = {}
        self._mapped = MappedRecords(layout, self.maps)

    @property
    @override
    def effective_schema(self) -> dict[str, Any]:
        """The current schema of the records, which may have more columns than the catalog."""
        return self._shaper.schema

    @override
    def prepare(self) -> None:
        """Sample the topic if a key property has no column: the catalog may be older than the data.

        Raises:
            ServiceError: A request failed.
        """
        if any(key_path(self._known_columns, key, self._layout) is None for key in self._keys):
            self._sampled = infer_columns(sample(self.consumer.client), self._layout.levels)

    @override
    def register(self) -> None:
        super().register()
        self._mapped.restore_schemas(self.stream_maps)

    @override
    def write_schema(self) -> None:
        super().write_schema()
        self._bookmark_columns()

    @override
    def log_misfits(self) -> None:
        if misfits := str(self._shaper.misfits):
            what = "dropped" if self._shaper.drops else f"kept in {RESCUED}"
            logger.info("%s: values without a column, %s: %s", self.topic, what, misfits)

    @override
    def _generate_record_messages(self, record: Record) -> Generator[RecordMessage, None, None]:
        rescued = record.get(RESCUED)
        filled = self._mapped.fill(record, self._shaper.columns)
        message_id = record["message_id"]
        for message in super()._generate_record_messages(record):
            if key := self._mapped.finish(message, rescued, filled, self.stream_maps):
                raise self._cannot_write(message_id, self._key_problem(key, rescued or {}))
            yield message

    @override
    def members(
        self, messages: Sequence[Message]
    ) -> tuple[Sequence[bytes], EventStreamsError | None]:
        """Convert the messages up to one that cannot be written; write a changed SCHEMA."""
        page = self._shaper.shape(payload_lines(messages))
        if page.added:
            count = counted(len(page.added), "column")
            logger.info("%s: added %s: %s", self.topic, count, listed(page.added))
            self.register()
            self.write_schema()
        self._bookmark_columns()
        if not page.problem:
            return page.bodies, None
        return page.bodies, self._cannot_write(messages[len(page.bodies)].message_id, page.problem)

    def _cannot_write(self, message_id: str, problem: str) -> EventStreamsError:
        return EventStreamsError(f"{self.topic}: message {message_id} cannot be written: {problem}")

    def _key_problem(self, key: str, rescued: Collection[str]) -> str:
        path = key_path(self._shaper.columns, key, self._layout)
        is_misfit = path is not None and pointer(path) in rescued
        return key_problem(key, is_misfit=None if self._shaper.drops else is_misfit)

    def _bookmark_columns(self) -> None:
        """Store the columns in the state, since they take precedence in the next run."""
        columns = self._shaper.next_columns
        if columns is not self._bookmarked:
            self.stream_state["columns"] = schemas(merged(columns, self._known_columns))
            self._bookmarked = columns

    @cached_property
    def _shaper(self) -> Shaper:
        columns = self._known_columns
        if is_closed := self._catalog.deselects((RESCUED,)):
            # Columns that are not in the catalog are deselected, too.
            columns = common(columns, self._catalog.columns)
        is_closed = is_closed or self._mode != ADD_COLUMNS
        fields = []
        for name in self._keys:
            if key_path(columns, name, self._layout) is None:
                new = self._sampled
                if is_closed:
                    new = {k: v for k, v in new.items() if key_path({k: v}, name, self._layout)}
                columns = merged(columns, new)
            path = key_path(columns, name, self._layout)
            if path is None:
                raise EventStreamsError(
                    f"{self.topic}: no message has {name}, which is a key property; "
                    "declare the topic's schema, or run again when it has such messages"
                )
            if self._catalog.deselects(self._layout.record_path(path)):
                raise EventStreamsError(
                    f"{self.topic}: the catalog deselects {name}, which is a key property; "
                    "select it, or choose another key"
                )
            fields.append(path[0])
        evolution = Evolution(
            self._mode,
            is_deferred=self.maps.has_other_key(self.primary_keys),
            deselected=self._catalog.deselected,
            required=fields if self._keeps_records else (),
        )
        return Shaper(self._layout, columns, evolution)

    @property
    def _keys(self) -> set[str]:
        """The key properties that are fields of the payload."""
        return self.maps.payload_keys(self.primary_keys) - MESSAGE_FIELDS.keys()

    @cached_property
    def _catalog(self) -> CatalogColumns:
        return CatalogColumns.of(super().effective_schema, self.mask, self._layout)

    @cached_property
    def _known_columns(self) -> Columns:
        state = self._tap.state.get("bookmarks", {}).get(self.name, {})
        try:
            bookmarked = from_bookmark(state.get("columns"), self._layout.levels)
        except ValueError as exc:
            raise EventStreamsError(f"{self.topic}: the state cannot be used: {exc}") from None
        known = self._declared, bookmarked, self._catalog.columns
        return combined(*known, self._mode, self._layout)

    @property
    def _keeps_records(self) -> bool:
        return self.maps.keep_records and self._layout.flattening is None

    @cached_property
    @override
    def splices(self) -> bool:
        paths = self._catalog.deselected
        is_selected = not any(len(path) > 1 or path[0] in MESSAGE_FIELDS for path in paths)
        return self._keeps_records and is_selected
