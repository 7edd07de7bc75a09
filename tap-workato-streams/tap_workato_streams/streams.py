"""A topic as a Singer stream."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, cast

from singer_sdk.exceptions import MappingError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib.catalog import (
    REPLICATION_FULL_TABLE,
    REPLICATION_INCREMENTAL,
    StreamMetadata,
)
from singer_sdk.streams import Stream
from typing_extensions import override

from .discovery.catalog import TopicMetadata
from .discovery.schemas import OPEN_PAYLOAD, record_schema
from .event_streams.errors import EventStreamsError
from .limits import RunLimits
from .output.summary import TopicSummary
from .reading.bookmarks import parse_bookmark
from .reading.decoding import decoded_record
from .reading.pages import Bookmark

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog, CatalogEntry
    from singer_sdk.tap_base import Tap

    from .event_streams.consume import Message
    from .output.writer import PageWriter
    from .reading.consumer import TopicConsumer
    from .reading.pages import Page


class TopicStream(Stream):
    """The messages of one topic, in topic order."""

    # A payload that does not conform to its schema is emitted unchanged.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    def __init__(self, tap: Tap, consumer: TopicConsumer) -> None:
        self.topic = consumer.topic
        super().__init__(
            tap,
            name=self.topic.name,
            schema=record_schema(self.topic.payload_schema or OPEN_PAYLOAD),
        )
        self.primary_keys = ["message_id"]
        self.replication_key = "message_id"
        self.consumer = consumer
        # The limits of a run through the SDK's own sync; the tap shares one among all streams.
        self.limits = RunLimits()

    @property
    @override
    def is_sorted(self) -> bool:
        return True  # an interrupted run is resumable

    @property
    @override
    def check_sorted(self) -> bool:
        return False  # message ids cannot be compared

    @property
    @override
    def replication_method(self) -> str:
        """Incremental, unless full-table replication is requested explicitly."""
        is_full_table = self.forced_replication_method == REPLICATION_FULL_TABLE
        return REPLICATION_FULL_TABLE if is_full_table else REPLICATION_INCREMENTAL

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Take selection and schema from a catalog; a replication key in it is ignored.

        With another key, the SDK would write its name next to a message id. Without one, it would
        read the full table in each run.
        """
        super().apply_catalog(catalog)
        self.replication_key = "message_id"

    @property
    @override
    def _singer_catalog_entry(self) -> CatalogEntry:
        entry = super()._singer_catalog_entry
        if isinstance(root := entry.metadata.get(()), StreamMetadata):
            entry.metadata[()] = TopicMetadata.of(root, self.topic.id)
        return entry

    @property
    def bookmark(self) -> Bookmark | None:
        """The bookmark in the stream's state, from which reading resumes."""
        if self.replication_method == REPLICATION_FULL_TABLE:
            return None
        return parse_bookmark(self.stream_state)

    @bookmark.setter
    def bookmark(self, bookmark: Bookmark) -> None:
        if self.replication_method == REPLICATION_FULL_TABLE:
            return
        if bookmark.message_id is not None:
            self.stream_state["replication_key"] = "message_id"
            self.stream_state["replication_key_value"] = bookmark.message_id
        self.stream_state["message_time"] = bookmark.time
        self.stream_state["topic_id"] = self.topic.id

    @cached_property
    def summary(self) -> TopicSummary:
        """What has been written in this run."""
        return TopicSummary(self.topic)

    @cached_property
    def passes_unchanged(self) -> bool:
        """Whether nothing inspects the records, so that they need not be decoded."""
        return all(self.mask.values()) and all(
            type(stream_map) is SameRecordTransform and not stream_map.flattening_enabled
            for stream_map in self.stream_maps
        )

    def write_schema(self) -> None:
        """Write the SCHEMA message of the stream, or those of its stream maps."""
        self._write_schema_message()

    def write_page(self, page: Page) -> None:
        """Write a page's messages as RECORD lines, and move the bookmark.

        Raises:
            EventStreamsError: A message cannot be decoded, or a stream map fails on it; the
                bookmark is at the message before it.
            OSError: stdout cannot be written to.
        """
        writer = cast("PageWriter", self._tap.message_writer)
        if self.passes_unchanged:
            writer.write_page(self.name, self.topic.id, page.messages)
        else:
            for message in page.messages:
                self._write_decoded(message)
                self.bookmark = Bookmark(message.message_id, message.time)
            writer.flush()
        if bookmark := page.bookmark():
            self.bookmark = bookmark
        self.summary.add(page)

    def _write_decoded(self, message: Message) -> None:
        record = decoded_record(message, self.topic)
        try:
            self._write_record_message(record)
        except OSError:
            raise
        except Exception as exc:
            # Of all exceptions, only the SDK's own text is known not to quote the payload.
            reason = exc if isinstance(exc, MappingError) else type(exc).__name__
            raise EventStreamsError(
                f"{self.topic}: message {message.message_id} cannot be written ({reason}); "
                "check stream_maps and flattening",
            ) from exc

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Read the topic for the SDK's own sync: ``--test`` and batch files.

        Yields:
            Decoded records, in topic order.
        """
        # At one record more than ``--test`` requests, the SDK logs an error.
        yield from islice(self._records(), self.ABORT_AT_RECORD_COUNT)

    def _records(self) -> Iterable[Record]:
        for page in self.consumer.pages(self.bookmark):
            for message in page.messages[: self.limits.take(len(page.messages))]:
                yield decoded_record(message, self.topic)
            if page.start and not page.messages:
                self.bookmark = page.start
            if self.limits.reached:
                return

    @override
    def get_batches(
        self,
        batch_config: BatchConfig,
        context: Context | None = None,
    ) -> Iterable[tuple[BaseBatchFileEncoding, list[str]]]:
        for encoding, files in super().get_batches(batch_config, context):
            # The SDK compresses them whatever the setting says.
            yield replace(encoding, compression="gzip"), files

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        """Keep the message's time next to the bookmark, which the SDK is about to move."""
        self.stream_state["message_time"] = row["time"]
        self.stream_state["topic_id"] = self.topic.id
        return row
