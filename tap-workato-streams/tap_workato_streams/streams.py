"""The base class of a topic as a Singer stream, for all record formats."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.exceptions import MappingError
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, StreamMetadata
from typing_extensions import override

from .discovery.catalog import TopicMetadata
from .event_streams.errors import EventStreamsError
from .limits import RunLimits
from .output.summary import TopicSummary
from .reading.bookmarks import parse_bookmark
from .reading.decoding import decoded_record
from .reading.topic import Bookmark
from .records.stream_maps import StreamMaps
from .sdk_stream import SdkStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import CatalogEntry
    from singer_sdk.tap_base import Tap

    from .event_streams.consume import Message
    from .output.writer import PageWriter
    from .reading.consumer import TopicConsumer
    from .reading.topic import Page


class TopicStream(SdkStream):
    """The messages of one topic, in topic order."""

    def __init__(self, tap: Tap, consumer: TopicConsumer, schema: dict[str, Any]) -> None:
        self.topic = consumer.topic
        super().__init__(tap, name=self.topic.name, schema=schema)
        self.maps = StreamMaps.of(self.name, tap.config.get("stream_maps") or {})
        self.primary_keys = ["message_id"]
        self.replication_key = "message_id"
        self.consumer = consumer
        # Without limits for the SDK's own sync; otherwise, all streams share those of the tap.
        self.limits = RunLimits()

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
        """The progress of the topic in this run."""
        return TopicSummary(self.topic, self.bookmark)

    @property
    def writer(self) -> PageWriter:
        """The writer of the run."""
        return cast("PageWriter", self._tap.message_writer)

    def write_schema(self) -> None:
        """Write the SCHEMA message of the stream, or those of its stream maps."""
        self._write_schema_message()

    @property
    @abstractmethod
    def splices(self) -> bool:
        """Whether the text of the members can be used as the text of the record."""

    @abstractmethod
    def members(
        self, messages: Sequence[Message]
    ) -> tuple[Sequence[bytes], EventStreamsError | None]:
        """Return the JSON text of each record's members after ``time``.

        If a message cannot be written, they end before it, and its error is returned, too.
        """

    def write_page(self, page: Page) -> None:
        """Write a page's messages as RECORD lines, and move the bookmark.

        Raises:
            EventStreamsError: A message cannot be written; the bookmark is at the one before it.
            OSError: stdout cannot be written to.
        """
        if page.messages:
            self._write_messages(page.messages)
        if bookmark := page.bookmark():
            self.bookmark = bookmark
        self.summary.add(page)

    def _write_messages(self, messages: Sequence[Message]) -> None:
        members, error = self.members(messages)
        messages = messages[: len(members)]
        if self.splices and self.is_emitted:
            alias = self.stream_maps[0].stream_alias
            self.writer.write_records(alias, self.topic.id, messages, members)
        else:
            self._write_decoded(messages, members)
        if error:
            if messages:
                self.bookmark = Bookmark(messages[-1].message_id, messages[-1].time)
            raise error

    def _write_decoded(self, messages: Sequence[Message], members: Sequence[bytes]) -> None:
        """Write records through the SDK, and move the bookmark with each."""
        for message, record in zip(messages, self._decoded(messages, members), strict=True):
            try:
                self._write_record_message(record)
            except (OSError, EventStreamsError):
                raise
            except Exception as exc:
                # Only the messages of the SDK's own exceptions never quote the payload.
                reason = exc if isinstance(exc, MappingError) else type(exc).__name__
                raise EventStreamsError(
                    f"{self.topic}: message {message.message_id} cannot be written ({reason}); "
                    "check stream_maps and flattening",
                ) from exc
            self.bookmark = Bookmark(message.message_id, message.time)
        self.writer.flush()

    def _decoded(self, messages: Sequence[Message], members: Sequence[bytes]) -> Iterator[Record]:
        for message, text in zip(messages, members, strict=True):
            yield decoded_record(message, self.topic, text)

    def log_summary(self) -> None:
        """Log the summary of the topic."""
        self.summary.log(self.consumer.client.requests)
        self.log_misfits()

    def log_misfits(self) -> None:
        """Log which fields did not fit the schema, if the format has columns."""

    @override
    def log_sync_costs(self) -> None:
        """Log at the end of the SDK's own sync."""
        super().log_sync_costs()
        self.log_misfits()

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Read the topic for the SDK's own sync: ``--test`` and batch files.

        Yields:
            Decoded records, in topic order.
        """
        # With one record more than ``--test`` requests, the SDK would log an error.
        yield from islice(self._records(), self.ABORT_AT_RECORD_COUNT)

    def _records(self) -> Iterable[Record]:
        for page in self.consumer.pages(self.bookmark):
            messages = page.messages[: self.limits.take(len(page.messages))]
            members, error = self.members(messages)
            yield from self._decoded(messages[: len(members)], members)
            if error:
                raise error
            if page.start and not page.messages:
                self.bookmark = page.start
            if self.limits.reached:
                return

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        """Store the message's time with the bookmark, which the SDK moves after this call."""
        self.stream_state["message_time"] = row["time"]
        self.stream_state["topic_id"] = self.topic.id
        return row
