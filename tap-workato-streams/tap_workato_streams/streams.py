"""A topic as a Singer stream: what all record formats have in common, and nested records."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, cast

from msgspec import Raw
from singer_sdk.exceptions import MappingError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.helpers.types import Context, Record
from singer_sdk.mapper import RemoveRecordTransform, StreamMap
from singer_sdk.singerlib import Catalog, CatalogEntry, Schema
from singer_sdk.singerlib.catalog import (
    REPLICATION_FULL_TABLE,
    REPLICATION_INCREMENTAL,
    StreamMetadata,
)
from singer_sdk.streams import Stream
from singer_sdk.tap_base import Tap
from typing_extensions import override

from .discovery.catalog import TopicMetadata
from .discovery.schemas import OPEN_PAYLOAD
from .event_streams.consume import Message, rfc3339
from .event_streams.errors import EventStreamsError
from .event_streams.json import decode
from .output.summary import TopicSummary
from .output.writer import PageWriter, Texts
from .reading.bookmarks import Bookmark, Page, parse_bookmark
from .reading.consumer import TopicConsumer
from .records.columns import PAYLOAD, RESCUED, message_schema
from .records.stream_maps import StreamMaps, failed_property

mapper_logger = logging.getLogger("singer_sdk.mapper")


class TopicStream(Stream):
    """The messages of one topic, in topic order; the schema may change during a run.

    Its consumer reads the topic and ``Sync`` passes on the pages, so the SDK's sync is not used.
    """

    # A payload that does not conform to its schema is emitted unchanged.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    _position: Bookmark | None = None  # After what this run has written.

    def __init__(self, tap: Tap, consumer: TopicConsumer, schema: dict[str, Any]) -> None:
        self.topic = consumer.topic
        super().__init__(tap, name=self.topic.name, schema=schema)
        self.maps = StreamMaps.of(self.name, tap.config.get("stream_maps") or {})
        self.primary_keys = self.topic.key_properties or ["message_id"]
        self.replication_key = "message_id"
        self.consumer = consumer
        self.writer = cast("PageWriter", tap.message_writer)

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        raise NotImplementedError

    @property
    @override
    def replication_method(self) -> str:
        """Incremental, unless full-table replication is requested explicitly."""
        is_full_table = self.forced_replication_method == REPLICATION_FULL_TABLE
        return REPLICATION_FULL_TABLE if is_full_table else REPLICATION_INCREMENTAL

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply the selection and schema of a catalog, but ignore its replication key.

        With another key, the SDK would write its name next to a message id. Without a key, it would
        read the full table in each run.
        """
        super().apply_catalog(catalog)
        self.primary_keys = self.topic.key_properties or self.primary_keys
        self.replication_key = "message_id"

    @property
    @override
    def stream_maps(self) -> list[StreamMap]:
        """The stream maps; created when first used: by the SDK's test suite, before any SCHEMA."""
        if self._stream_maps is None:
            self.register()
        return super().stream_maps

    def register(self) -> None:
        """Create the stream maps for the schema of the stream, again after each change."""
        entry = CatalogEntry(
            tap_stream_id=self.tap_stream_id,
            stream=self.name,
            schema=Schema.from_dict(self.effective_schema),
            metadata=self.metadata,
            key_properties=self.primary_keys,
        )
        if self._stream_maps is not None:
            # The SDK has already logged its messages about the maps.
            mapper_logger.setLevel(logging.WARNING)
        self._tap.mapper.register_raw_streams_from_catalog(Catalog([(self.name, entry)]))
        self._stream_maps = self._tap.mapper.stream_maps[self.name]

    @property
    @override
    def _singer_catalog_entry(self) -> CatalogEntry:
        entry = super()._singer_catalog_entry
        if isinstance(root := entry.metadata.get(()), StreamMetadata):
            own = {"topic-id": self.topic.id, "record-format": self.config["record_format"]}
            entry.metadata[()] = TopicMetadata.from_dict(root.to_dict() | own)
        return entry

    @property
    def bookmark(self) -> Bookmark | None:
        """The bookmark in the stream's state, or of this run, from which reading resumes."""
        if self.replication_method == REPLICATION_FULL_TABLE:
            return self._position
        return parse_bookmark(self.stream_state)

    @cached_property
    def summary(self) -> TopicSummary:
        """The progress of the topic in this run."""
        return TopicSummary(self.topic, self.bookmark, self.consumer.client)

    def find_tables(self) -> dict[str, object]:
        """Return the tables with its columns, and the schema of each, or None if it may change."""
        return {}

    def write_schema(self) -> None:
        """Write the SCHEMA message of the stream, or those of its stream maps."""
        self._write_schema_message()

    # What precedes the text that ``build_members`` returns for a record.
    MEMBER_NAME = b""

    @property
    @abstractmethod
    def splices(self) -> bool:
        """Whether the text of the members can be used as the text of the record."""

    @property
    def writes_text(self) -> bool:
        """Whether the text of the members is used, because there are records to be written."""
        return not isinstance(self.stream_maps[0], RemoveRecordTransform) and self.splices

    @abstractmethod
    def build_members(self, messages: Sequence[Message]) -> tuple[Texts, EventStreamsError | None]:
        """Build the JSON text of each record's members after ``time``; it may add columns.

        If a message cannot be written, they end before it, and its error is returned, too.
        """

    def write_schema_if_changed(self) -> None:
        """Write the SCHEMA message again if ``build_members`` has added columns."""

    def write_page(self, page: Page) -> None:
        """Write a page's messages as RECORD lines, and move the bookmark.

        If a message cannot be written, the bookmark is at the one before it.
        """
        count, error = self._write_messages(page.messages) if page.messages else (0, None)
        page = page.first(count)
        if bookmark := page.bookmark():
            self._position = bookmark
            if self.replication_method == REPLICATION_INCREMENTAL:
                self._move_bookmark(bookmark)
        self.summary.add(page)
        if error:
            raise error

    def _move_bookmark(self, bookmark: Bookmark) -> None:
        state = self.stream_state
        if bookmark.message_id is not None:
            state.update(replication_key="message_id", replication_key_value=bookmark.message_id)
        else:
            state.pop("replication_key_value", None)
        state.update(message_time=bookmark.time, topic_id=self.topic.id)

    def _write_messages(self, messages: Sequence[Message]) -> tuple[int, EventStreamsError | None]:
        """Write messages; return how many can be written, and the error of the one after them."""
        texts, error = self.build_members(messages)
        self.write_schema_if_changed()
        messages = messages[: len(texts)]
        if self.writes_text:
            stream, name = self.stream_maps[0].stream_alias, self.MEMBER_NAME
            self.writer.write_records(stream, self.topic.id, messages, texts, name)
            return len(messages), error
        written = 0
        try:
            for message, text in zip(messages, texts, strict=True):
                self._write_decoded(message, text)
                written += 1
        except EventStreamsError as exc:
            error = exc
        self.writer.flush()
        return written, error

    def _write_decoded(self, message: Message, text: bytes | Raw) -> None:
        """Write a record through the SDK's mapper, whose errors name neither message nor topic."""
        try:
            decoded = decode(b"{%b%b}" % (self.MEMBER_NAME, text))
        except RecursionError:
            raise EventStreamsError(
                f"{self.topic}: message {message.message_id} is nested too deeply to be decoded; "
                "select all properties and use neither stream maps nor flattening to emit it as is"
            ) from None
        position = {"message_id": message.message_id, "topic_id": self.topic.id}
        try:
            self._write_record_message({**position, "time": message.time, **decoded})
        except (OSError, EventStreamsError):
            raise
        except Exception as exc:
            # Only the messages of the SDK's own exceptions never quote the payload.
            reason = str(exc) if isinstance(exc, MappingError) else type(exc).__name__
            remedy = "check stream_maps and flattening"
            if name := failed_property(exc):
                reason = f"{name}: {reason}"
                remedy = "change its expression in stream_maps; any column may be null"
            raise EventStreamsError(
                f"{self.topic}: message {message.message_id} cannot be written ({reason}); {remedy}"
            ) from exc

    def log_summary(self) -> None:
        """Log the summary of the topic."""
        self.summary.log()


def longest_waiting_first(streams: Iterable[TopicStream]) -> list[TopicStream]:
    """Sort streams by when they were last read, since a limit may end the run before their turn."""
    return sorted(streams, key=lambda each: str(each.stream_state.get("read_at", "")))


def mark_read(streams: Iterable[TopicStream]) -> None:
    """Store in the bookmarks that streams were read now, for the order of the next run."""
    now = rfc3339(datetime.now(timezone.utc), "milliseconds")
    for stream in streams:
        stream.stream_state["read_at"] = now


class NestedStream(TopicStream):
    """A topic in the nested record format, without flattening."""

    MEMBER_NAME = b'"payload":'

    def __init__(self, tap: Tap, consumer: TopicConsumer) -> None:
        payload = consumer.topic.payload_schema or OPEN_PAYLOAD
        super().__init__(tap, consumer, message_schema({PAYLOAD: payload}))

    @property
    @override
    def effective_schema(self) -> dict[str, Any]:
        """The schema of the catalog, with all properties of the records and no others.

        Loaders silently drop fields without a property, and the catalog may have been edited or
        made for another record format.
        """
        schema, own = super().effective_schema, self.schema
        known = schema.get("properties", {})
        properties = {name: known.get(name, each) for name, each in own["properties"].items()}
        return {**own, **schema, "properties": properties}

    @override
    def write_schema(self) -> None:
        known = {*self.schema["properties"], RESCUED}
        for crumb, is_selected in self.mask.items():
            if crumb and not is_selected and crumb[1] not in known:
                # It would be emitted inside of the payload.
                raise EventStreamsError(
                    f"{self.topic}: the catalog deselects {crumb[1]}, which is not a "
                    "property of nested records; run discovery again (Meltano: --refresh-catalog)"
                )
        for stream_map in self.stream_maps:
            names = stream_map.transformed_schema.get("properties", {})
            for key in stream_map.transformed_key_properties or ():
                if key not in names:
                    raise EventStreamsError(
                        f"{self.topic}: the records have no {key}, which is a key property; "
                        "set record_format to unpacked, or add it in stream_maps"
                    )
        super().write_schema()

    @cached_property
    @override
    def splices(self) -> bool:
        return self.maps.keep_records and all(self.mask.values())

    @override
    def build_members(self, messages: Sequence[Message]) -> tuple[Texts, None]:
        return [message.payload for message in messages], None
