"""A topic as a Singer stream."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MappingError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from singer_sdk.streams import Stream
from typing_extensions import override

from .discovery.schemas import OPEN_PAYLOAD, record_schema
from .event_streams.errors import EventStreamsError
from .limits import RunLimits, RunStart
from .reading.client import ConsumeClient
from .reading.consumer import TopicConsumer
from .reading.pages import Bookmark
from .reading.positions import bookmark_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.tap_base import Tap

    from .discovery.topics import Topic
    from .event_streams.rate_limiter import RateLimiter
    from .output.writer import PageWriter
    from .reading.pages import Message

# Python refuses to make an int of more digits than this; a Decimal keeps them all.
MAX_INT_DIGITS = 4300


class TopicStream(Stream):
    """The messages of one topic, in the order of the API."""

    # A payload that does not fit its schema goes through unchanged.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    def __init__(self, tap: Tap, topic: Topic, limiter: RateLimiter) -> None:
        super().__init__(
            tap,
            name=topic.name,
            schema=record_schema(topic.payload_schema or OPEN_PAYLOAD),
        )
        self.topic = topic
        self.primary_keys = ["message_id"]
        self.replication_key = "message_id"
        self.client = ConsumeClient(tap.config, topic.id, str(topic), limiter)
        self.share(RunStart(), RunLimits())

    def share(self, run_start: RunStart, limits: RunLimits) -> None:
        """Take the start and the limits of a run of the SDK that reads several topics."""
        self._run_start = run_start
        self._limits = limits

    @property
    @override
    def is_sorted(self) -> bool:
        """The API's order is the publishers': a run that was cut short can be continued."""
        return True

    @property
    @override
    def check_sorted(self) -> bool:
        """Message ids are opaque: they cannot be compared."""
        return False

    @property
    def bookmark(self) -> Bookmark | None:
        """Where reading goes on: what the state of this stream holds."""
        if self.replication_method == REPLICATION_FULL_TABLE:
            return None
        return bookmark_of(self.stream_state)

    @bookmark.setter
    def bookmark(self, bookmark: Bookmark) -> None:
        if self.replication_method == REPLICATION_FULL_TABLE:
            return
        if bookmark.message_id is not None:
            self.stream_state["replication_key"] = self.replication_key
            self.stream_state["replication_key_value"] = bookmark.message_id
        self.stream_state["message_time"] = bookmark.time

    @cached_property
    def passes_unchanged(self) -> bool:
        """Whether nobody looks into the records, so that they need not be decoded."""
        return all(self.mask.values()) and all(
            type(stream_map) is SameRecordTransform and not stream_map.flattening_enabled
            for stream_map in self.stream_maps
        )

    def reader(
        self,
        run_start: RunStart,
        *,
        tail: bool,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> TopicConsumer:
        """Make a reader that starts where the state and the settings say.

        Args:
            run_start: When the run began.
            tail: Whether to go on when the end is reached.
            while_waiting: What to do while the service is busy with a request.
        """
        return TopicConsumer(
            self.topic,
            self.client,
            run_start,
            self.config,
            bookmark=self.bookmark,
            tail=tail,
            while_waiting=while_waiting,
        )

    def write_schema(self) -> None:
        """Write the SCHEMA message of the stream, or those that its stream maps make of it."""
        self._write_schema_message()

    def write_messages(self, messages: list[Message], writer: PageWriter) -> None:
        """Write the messages of a page as RECORD lines.

        Raises:
            EventStreamsError: A message cannot be decoded, or a stream map fails on it; the
                bookmark is at the message before it.
            BrokenPipeError: The reader of standard output has gone.
        """
        if self.passes_unchanged:
            writer.write_page(self.name, self.topic.id, messages)
            return
        for message in messages:
            record = self._record(message)
            try:
                self._write_record_message(record)
            except OSError:
                raise
            except Exception as exc:
                # Only the SDK's own text is known to quote no payload.
                reason = exc if isinstance(exc, MappingError) else type(exc).__name__
                raise EventStreamsError(
                    f"{self.topic}: message {message.message_id} cannot be written ({reason}); "
                    "check stream_maps and flattening",
                ) from exc
            self.bookmark = Bookmark(message.message_id, message.time)
        writer.flush()

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Read the topic for the SDK's own sync: ``--test`` and batch files.

        Yields:
            Decoded records, in the order of the API.
        """
        # At one more than ``--test`` wants the SDK logs an error, though all is well.
        yield from islice(self._records(), self.ABORT_AT_RECORD_COUNT)

    def _records(self) -> Iterable[Record]:
        for page in self.reader(self._run_start, tail=False).pages():
            for message in page.messages[: self._limits.take(len(page.messages))]:
                yield self._record(message)
            if page.start and not page.messages:
                self.bookmark = page.start
            if self._limits.reached:
                return

    @override
    def get_batches(
        self,
        batch_config: BatchConfig,
        context: Context | None = None,
    ) -> Iterable[tuple[BaseBatchFileEncoding, list[str]]]:
        """Write batch files as the SDK does: with gzip, also where the setting says otherwise.

        Yields:
            The encoding that the files have, so that the BATCH message is true, and their URLs.
        """
        for encoding, files in super().get_batches(batch_config, context):
            yield replace(encoding, compression="gzip"), files

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record | None:
        """Keep the time of the message beside the bookmark that the SDK is about to move to it."""
        self.stream_state["message_time"] = row["time"]
        return row

    def _record(self, message: Message) -> dict[str, Any]:
        try:
            payload = json.loads(bytes(message.payload), parse_float=Decimal, parse_int=_integer)
        except RecursionError:
            raise EventStreamsError(
                f"{self.topic}: message {message.message_id} is nested too deeply to be decoded; "
                "select all properties and use no stream maps or flattening to pass it on as it is",
            ) from None
        return {
            "message_id": message.message_id,
            "topic_id": self.topic.id,
            "time": message.time,
            "payload": payload,
        }


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= MAX_INT_DIGITS else Decimal(digits)
