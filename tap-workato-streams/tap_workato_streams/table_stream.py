"""A topic whose payload fields become columns: unpacked, flattened or both."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from singer_sdk.helpers.types import Record
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.singerlib import RecordMessage
from singer_sdk.tap_base import Tap
from typing_extensions import override

from .event_streams import logger
from .event_streams.consume import Message
from .event_streams.errors import EventStreamsError
from .plugin.wording import counted, listed, shown
from .reading.consumer import TopicConsumer
from .records.columns import (
    MESSAGE_FIELDS,
    RESCUED,
    Columns,
    Layout,
    Path,
    common,
    from_schema,
    leaves,
    merged,
    schemas,
)
from .records.evolution import (
    ADD_COLUMNS,
    ADD_COLUMNS_NEXT_RUN,
    RESCUE,
    ColumnRegistry,
    Evolution,
    RescuedValue,
    changed_types,
    contains,
    from_bookmark,
    from_catalog,
    key_path,
    key_problem,
)
from .records.record_builder import RecordBuilder
from .records.stream_maps import MappedRecords
from .streams import TopicStream


class TableStream(TopicStream):
    """A topic whose payloads are split into columns."""

    def __init__(self, tap: Tap, consumer: TopicConsumer, layout: Layout) -> None:
        self._layout = layout
        topic = consumer.topic
        columns = from_schema(topic.payload_schema or {}, layout.levels)
        schema = layout.record_schema(ColumnRegistry(Evolution(layout), columns).columns)
        super().__init__(tap, consumer, schema)
        self._declared = columns if topic.is_declared and topic.payload_schema else None
        self._written: Columns = {}  # Those of the last SCHEMA message.
        self._bookmarked: Columns | None = None
        self._rescued: dict[str, Sequence[RescuedValue]] = {}  # Of a page, by message id.

    @property
    @override
    def effective_schema(self) -> dict[str, Any]:
        """The current schema of the records, which may have more columns than the catalog."""
        return self._builder.schema

    @override
    def register(self) -> None:
        mapper = self._tap.mapper
        setting = mapper.stream_maps_dict
        mapper.stream_maps_dict = self._mapped.definitions(setting, self.effective_schema)
        try:
            super().register()
        finally:
            mapper.stream_maps_dict = setting
        self._mapped.finish_schemas(self.stream_maps, self._builder.columns)

    @override
    def find_tables(self) -> dict[str, object]:
        with suppress(EventStreamsError):  # Writing the SCHEMA fails, too, but only this topic.
            fixed = self._mode != ADD_COLUMNS
            maps = [
                each for each in self.stream_maps if not isinstance(each, RemoveRecordTransform)
            ]
            return {each.stream_alias: each.transformed_schema if fixed else None for each in maps}
        return {}

    @override
    def write_schema(self) -> None:
        """Write the SCHEMA message, unless a key has no column before a message has a value."""
        if self._bookmarked is None:
            self._warn_about_loaded_rows()
        self._written = self._builder.columns
        if self._builder.has_keys:
            super().write_schema()
        self._bookmark_columns()

    @override
    def log_summary(self) -> None:
        super().log_summary()
        builder = self._builder
        where = "dropped" if builder.evolution.drops else f"kept in {RESCUED}"
        if values := str(builder.unfitting):
            has_number = builder.unfitting.has_number
            level = logging.WARNING if has_number else logging.INFO
            hint = "; if numbers should fit, change the type of their column" if has_number else ""
            text = "%s: values that do not fit their column, %s: %s%s"
            logger.log(level, text, self.topic, where, values, hint)
        if values := str(builder.without_column):
            logger.info("%s: fields without a column, %s: %s", self.topic, where, values)
        if values := str(builder.unmapped):
            text = "%s: values that do not fit their column, dropped because of stream_maps: %s"
            logger.warning(text, self.topic, values)
        if builder.left_out:
            text = (
                "%s: the filter in stream_maps left out %s whose key does not fit its column; to "
                "load them, declare a key of mixed types as string and use --full-refresh"
            )
            logger.warning(text, self.topic, counted(builder.left_out, "message"))

    @override
    def _generate_record_messages(self, record: Record) -> Generator[RecordMessage, None, None]:
        rescued = record.get(RESCUED)
        filled = self._mapped.fill(record, self._builder.columns)
        values = self._rescued[record["message_id"]]
        messages = list(super()._generate_record_messages(record))
        for message in messages:
            if key := self._mapped.finish(message, rescued, filled):
                problem = key_problem(key, has_value=self._builder.has_value(key, values))
                raise self._cannot_write(record["message_id"], problem)
        self._builder.count(values, is_left_out=not messages)
        yield from messages

    @override
    def build_members(
        self, messages: Sequence[Message]
    ) -> tuple[Sequence[bytes], EventStreamsError | None]:
        page = self._builder.build([bytes(message.payload) for message in messages])
        if self.writes_text:
            for rescued in page.rescued:
                self._builder.count(rescued)
        else:  # `_generate_record_messages` counts them, after the stream maps
            self._rescued = dict(zip([m.message_id for m in messages], page.rescued, strict=False))
        if not page.problem:
            return page.bodies, None
        return page.bodies, self._cannot_write(messages[len(page.bodies)].message_id, page.problem)

    @override
    def write_schema_if_changed(self) -> None:
        if self._builder.columns is not self._written:
            self._log_columns_added(self._written)
            self.register()
            self.write_schema()
        self._bookmark_columns()

    def _warn_about_loaded_rows(self) -> None:
        if changed := changed_types(self._declared or {}, self._last_columns, self._layout):
            logger.warning(
                "%s: the schema declares other types than the last run had: %s; unless the "
                "table's columns have the new types, change them before the loader fails",
                self.topic,
                listed(changed),
            )
        if self.bookmark and self.bookmark.message_id and "columns" not in self._last_state:
            logger.warning(
                "%s: the bookmark is from nested records, so the rows that are already loaded have "
                "no values in the new columns; to load them again, use --full-refresh",
                self.topic,
            )

    def _log_columns_added(self, before: Columns) -> None:
        known = leaves(before)
        columns = leaves(self._builder.columns)
        names = [self._layout.column_name(path) for path in columns if path not in known]
        if names := [shown(name) for name in names if name not in self.maps.removes]:
            count = counted(len(names), "column")
            logger.info("%s: added %s: %s", self.topic, count, listed(names))

    def _cannot_write(self, message_id: str, problem: str) -> EventStreamsError:
        return EventStreamsError(f"{self.topic}: message {message_id} cannot be written: {problem}")

    def _bookmark_columns(self) -> None:
        """Store the columns in the state, since they take precedence in the next run."""
        columns = self._builder.next_columns
        if columns is not self._bookmarked:
            self.stream_state["columns"] = schemas(merged(columns, self._known_columns))
            self._bookmarked = columns
        if self._is_declared:
            self.stream_state["declared"] = True
        else:
            self.stream_state.pop("declared", None)

    @cached_property
    def _mapped(self) -> MappedRecords:
        # Only now, because a catalog may have changed the keys.
        return MappedRecords(self._layout, self.maps, self.primary_keys)

    @cached_property
    def _builder(self) -> RecordBuilder:
        columns = self._known_columns
        if (RESCUED,) in self._deselected:
            # Columns that are not in the catalog are deselected, too.
            columns = common(columns, self._catalog_columns)
        keys = self.maps.payload_keys(self.primary_keys) - MESSAGE_FIELDS.keys()
        for key in keys:
            path = key_path(columns, key, self._layout)
            if path and contains(self._deselected, self._layout.record_path(path)):
                raise EventStreamsError(
                    f"{self.topic}: the catalog deselects {key}, which is a key property; "
                    "select it, or choose another key"
                )
        evolution = Evolution(
            self._layout,
            self._mode,
            keys=keys,
            is_deferred=self.config.get("schema_evolution") == ADD_COLUMNS_NEXT_RUN
            or self.maps.has_other_key(self.primary_keys),
            deselected=self._deselected,
            sets=self.maps.sets,
            removes=self.maps.removes,
        )
        return RecordBuilder(columns, evolution)

    @cached_property
    def _catalog_columns(self) -> Columns:
        return from_catalog(super().effective_schema, self._layout)

    @cached_property
    def _deselected(self) -> set[Path]:
        """The paths in the record that the catalog deselects."""
        return {crumb[1::2] for crumb, selected in self.mask.items() if crumb and not selected}

    @property
    def _last_state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._tap.state.get("bookmarks", {}).get(self.name, {})
        return state

    @cached_property
    def _is_declared(self) -> bool:
        """Whether the schema is declared, or was while the Developer API was available."""
        if self._declared is not None:
            return True
        # The Developer API knows the retention of each topic.
        is_unavailable = self.config.get("developer_api_token") and self.topic.retention is None
        return bool(is_unavailable and self._last_state.get("declared"))

    @cached_property
    def _mode(self) -> str:
        default = RESCUE if self._is_declared else ADD_COLUMNS
        mode: str = self.config.get("schema_evolution") or default
        return ADD_COLUMNS if mode == ADD_COLUMNS_NEXT_RUN else mode

    @cached_property
    def _last_columns(self) -> Columns:
        try:
            return from_bookmark(self._last_state.get("columns"), self._layout.levels)
        except ValueError as exc:
            raise EventStreamsError(f"{self.topic}: the state cannot be used: {exc}") from None

    @cached_property
    def _known_columns(self) -> Columns:
        bookmarked = self._last_columns
        adds_columns = self._mode == ADD_COLUMNS
        known = [bookmarked, self._catalog_columns]
        if self._declared is not None:
            known = [self._declared, bookmarked if adds_columns else {}]
        elif bookmarked and adds_columns:
            # A catalog may be made anew in each run, from another sample: the messages decide.
            known = [bookmarked]
        return ColumnRegistry(Evolution(self._layout), *known).columns

    @cached_property
    @override
    def splices(self) -> bool:
        if self._layout.flattening or self.maps.has_other_key(self.primary_keys):
            return False
        deselected = any(len(path) > 1 or path[0] in MESSAGE_FIELDS for path in self._deselected)
        return self.maps.keep_records and not deselected
