"""The rule of a target that remembers: a record is published if its row's last message differs.

Before a request, its rows are in doubt in the store; after the response, their new contents are
remembered. Rows that are still in doubt when a run starts, or after a lost response, are looked up
in the topic with `exactly_once`, and forgotten without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Generic

from ..event_streams import logger
from ..event_streams.errors import EventStreamsError, RequestRejected
from ..message_key import RowVersion
from ..plugin.wording import counted
from .records import PublishResult, R, Run
from .store import Position, Store, StoredTopic, today
from .topic_reader import LookUp, TopicReader

# Records that are compared with one query.
CHUNK_ROWS = 500
# When nearly all known rows of a stream have changed, the reason is probably a column.
MANY_ROWS = 100
NEARLY_ALL = 0.95


@dataclass(frozen=True)
class MemorySettings:
    """What the topics of a run have in common."""

    store: Store | None  # None in a dry run without a store
    host: str
    key_field: str  # of the messages; empty if they have no message key
    days: int | None  # after which a row that has not come is forgotten
    open_reader: Callable[[int, str], TopicReader] | None  # None without `exactly_once`
    dry_run: bool = False  # compares only


@dataclass
class StreamCounts:
    """How the records of a stream compare with what is remembered."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        """Format the counts for the log."""
        return f"{self.new:,} new, {self.changed:,} changed, {self.unchanged:,} unchanged"


class PublishedRows(Generic[R]):
    """Publishes the records of one topic whose rows have changed; see `AtLeastOnce`."""

    chunk_rows = CHUNK_ROWS

    def __init__(self, topic_id: int, settings: MemorySettings) -> None:
        self.streams: dict[str, StreamCounts] = {}
        self._topic_id = topic_id
        self._settings = settings
        self._label = f"topic {topic_id}"
        self._topic: int | None = None  # its number in the store
        self._reader: TopicReader | None = None
        self._position = Position(None)
        # For the main thread: the last record of a row that has no outcome yet, and those after it
        # with the same content, for which its outcome counts.
        self._on_the_way: dict[str, R] = {}
        self._followers: dict[int, list[R]] = {}
        # For the worker: rows of lost requests; records without a key that were found in the topic;
        # records that were not sent, because their rows had not changed.
        self._lost: dict[str, RowVersion] = {}
        self._lost_unkeyed: Counter[RowVersion] = Counter()
        self._found: set[int] = set()
        self._unchanged: set[int] = set()

    @property
    def requests(self) -> int:
        """The number of requests that have read the topic; in any thread."""
        return self._reader.client.requests if self._reader else 0

    def open(self, label: str, run: Run) -> None:
        """Lock the topic, and settle the rows in doubt; raises `EventStreamsError`."""
        self._label, settings = label, self._settings
        if settings.dry_run:
            if settings.store:
                self._topic = run(partial(settings.store.find, settings.host, self._topic_id))
            return
        stored: StoredTopic = run(
            partial(self._store.open_topic, settings.host, self._topic_id, label, settings.days)
        )
        self._topic, self._position = stored.number, stored.position
        if settings.open_reader is None:
            if not stored.is_known:
                logger.info("%s: the store of published rows is new: all rows are published", label)
            run(partial(self._forget, stored.in_doubt))
            return
        self._reader = settings.open_reader(self._topic_id, label)
        if not stored.is_known:
            run(partial(self._read_last_day, self._reader, stored))
        elif stored.in_doubt:
            run(partial(self._look_up_interrupted, self._reader, stored))

    def batch_key(self, record: R) -> str | int:
        """Return the row, because a partial failure could reorder its versions."""
        return record.version.row if record.version.is_keyed else record.sequence

    def select(self, records: Sequence[R]) -> tuple[Sequence[R], Sequence[R]]:
        """Compare records with what is remembered, and with what is on its way."""
        rows = {each.version.row for each in records if each.version.is_keyed}
        rows -= self._on_the_way.keys()
        known = self._store.contents(self._topic, [*rows]) if self._topic is not None else {}
        counts_days = self._settings.days is not None and not self._settings.dry_run
        wanted, unchanged, old = [], [], set()
        for record in records:
            row, content = record.version
            counts = self.streams.setdefault(record.stream_name, StreamCounts())
            if not record.version.is_keyed:
                self._warn_unkeyed(record.stream_name, counts)
                counts.new += 1
                wanted.append(record)
            elif (last := self._on_the_way.get(row)) and last.version.content == content:
                counts.unchanged += 1
                self._followers.setdefault(last.sequence, []).append(record)
            elif last is None and row in known and known[row][0] == content:
                counts.unchanged += 1
                unchanged.append(record)
                if counts_days and known[row][1] != today():
                    old.add(row)
            else:
                is_known = last is not None or row in known
                counts.changed += is_known
                counts.new += not is_known
                self._on_the_way[row] = record
                wanted.append(record)
        if old:
            self._store.touch(self._number, [*old])
        return wanted, unchanged

    def settle(self, records: Sequence[R]) -> Sequence[R]:
        """Handle that records have outcomes; return them and the ones that were like them."""
        settled = list(records)
        for record in records:
            settled += self._followers.pop(record.sequence, ())
            if self._on_the_way.get(record.version.row) is record:
                del self._on_the_way[record.version.row]
        return settled

    def missing(self, records: Sequence[R]) -> Sequence[R]:
        """Return the records of a request whose content is not the topic's; they are in doubt now.

        After a lost response, this reads the topic first.
        """
        is_looked_up = False
        if self._reader and (self._lost or self._lost_unkeyed):
            self._look_up_lost(self._reader, records)
            is_looked_up = True
        topic = self._number
        keyed = [each.version.row for each in records if each.version.is_keyed]
        known = self._store.contents(topic, keyed)
        missing = []
        for record in records:
            row, content = record.version
            if record.sequence in self._found:
                continue
            is_same = row in known and known[row][0] == content and row not in self._lost
            if not is_same or not record.version.is_keyed:
                missing.append(record)
            elif not is_looked_up:
                self._unchanged.add(record.sequence)
        contents = {r.version.row: r.version.content for r in missing if r.version.is_keyed}
        if contents:
            # Without `exactly_once`, rows in doubt are forgotten, whatever the next run does.
            field = self._settings.key_field if self._reader else ""
            self._store.add_in_doubt(topic, contents, field)
        return missing

    def is_unchanged(self, record: R) -> bool:
        """Whether a record was not sent, because its row did not differ from the topic's."""
        return record.sequence in self._unchanged

    def on_lost(self, records: Sequence[R], *, is_throttled: bool) -> bool:
        """Handle that records have no result: with `exactly_once`, the topic is read."""
        for record in records:
            if record.version.is_keyed:
                self._lost[record.version.row] = record.version
            elif self._reader:
                self._lost_unkeyed[record.version] += 1
        return self._reader is None and not is_throttled

    def on_response(self, records: Sequence[R], result: PublishResult) -> bool:
        """Remember what was acknowledged; return whether the response says enough."""
        last = result.last_message_id
        unknown = {*result.unknown}
        is_enough = len(unknown) < len(records)
        if self._reader and last is None and len(result.failed) < len(records):
            # Without the id of what was accepted, the next look-up would not know where to start.
            self.on_lost(records, is_throttled=False)
            return False
        contents, failed, forgotten = {}, [], []
        for index, record in enumerate(records):
            row, content = record.version
            if index in unknown or not record.version.is_keyed:
                continue
            if index not in result.failed:
                contents[row] = content
                self._lost.pop(row, None)
            elif self._lost.pop(row, None):  # an earlier request may have arrived
                forgotten.append(row)
            else:
                failed.append(row)
        # Later look-ups have to find the unknown ones, which may be before the last one.
        if last is not None and not (unknown and self._reader):
            self._position = Position(last, result.time)
        self._store.settle(
            self._number, contents, self._position, settled=failed, forgotten=forgotten
        )
        return is_enough

    def report_progress(self) -> None:
        """Log how far the topic has been read."""
        if self._reader:
            self._reader.report_progress()

    def log_summary(self) -> None:
        """Log which streams have changed nearly completely, since a column may be the reason."""
        for name, counts in self.streams.items():
            known = counts.changed + counts.unchanged
            if known >= MANY_ROWS and counts.changed >= NEARLY_ALL * known:
                logger.warning(
                    "%s: %s of %s known rows have changed; if a column changes in each run, such "
                    "as the time of extraction, remove it with stream_maps",
                    name,
                    f"{counts.changed:,}",
                    f"{known:,}",
                )

    @property
    def _store(self) -> Store:
        if self._settings.store is None:
            raise EventStreamsError(f"{self._label}: published without a store")
        return self._settings.store

    @property
    def _number(self) -> int:
        if self._topic is None:
            raise EventStreamsError(f"{self._label}: published before the topic was opened")
        return self._topic

    def _warn_unkeyed(self, stream: str, counts: StreamCounts) -> None:
        if counts == StreamCounts():
            logger.warning(
                "%s: has records without a key, which are not remembered and published each time; "
                "set the key with __key_properties__ in stream_maps",
                stream,
            )

    def _forget(self, rows: Iterable[str]) -> None:
        if gone := [*rows]:
            self._store.settle(self._number, {}, None, forgotten=gone)

    def _read_last_day(self, reader: TopicReader, stored: StoredTopic) -> None:
        """Fold the messages of the last day into a new store."""
        logger.info(
            "%s: the store of published rows is new: reading the messages of the last day; rows "
            "that are in older messages only are published again",
            self._label,
        )
        look_up = _read(reader, LookUp(Position(None), is_new=True))
        self._finish(look_up, look_up.contents, stored.in_doubt.keys() - look_up.contents.keys())

    def _look_up_interrupted(self, reader: TopicReader, stored: StoredTopic) -> None:
        """Fold what an interrupted run has published into the rows that it has left in doubt."""
        in_doubt, field = stored.in_doubt, self._settings.key_field
        lost = {row: each.content for row, each in in_doubt.items() if each.key_field == field}
        if not lost:  # their messages have another key or none
            self._forget(in_doubt)
            return
        logger.info(
            "%s: looking for %s of an interrupted run after %s",
            self._label,
            counted(len(lost), "row"),
            f"message {self._position.message_id}" if self._position.message_id else "its start",
        )
        wanted = Counter(RowVersion(row, content) for row, content in lost.items())
        look_up = _read(reader, LookUp(self._position, wanted))
        self._fold(look_up, lost.keys(), forgotten=in_doubt.keys() - lost.keys())

    def _look_up_lost(self, reader: TopicReader, records: Sequence[R]) -> None:
        """Find out which records of a request are in the topic, after its response was lost."""
        wanted = Counter(self._lost.values()) + self._lost_unkeyed
        look_up = _read(reader, LookUp(self._position, wanted))
        self._fold(look_up, self._lost.keys(), forgotten=set())
        left = Counter(look_up.unkeyed) if look_up.is_whole else Counter[RowVersion]()
        for record in records:
            if left[record.version]:
                left[record.version] -= 1
                self._found.add(record.sequence)
        found = sum(look_up.contents.get(each.row) == each.content for each in wanted)
        logger.info(
            "%s: no response to a request with %s; %d are in the topic",
            self._label,
            counted(wanted.total(), "message"),
            found + sum(look_up.unkeyed.values()),
        )
        self._lost.clear()
        self._lost_unkeyed.clear()

    def _fold(self, look_up: LookUp, rows: AbstractSet[str], forgotten: AbstractSet[str]) -> None:
        """Fold a look-up into rows in doubt, whose last version in the topic wins.

        One that was not found keeps its content, unless it may have been in expired messages.
        """
        contents = {row: look_up.contents[row] for row in rows & look_up.contents.keys()}
        others = rows - contents.keys()
        gone = forgotten if look_up.is_whole else forgotten | others
        self._finish(look_up, contents, gone, settled=others - gone)

    def _finish(
        self,
        look_up: LookUp,
        contents: Mapping[str, str],
        forgotten: Iterable[str],
        settled: Iterable[str] = (),
    ) -> None:
        self._position = look_up.end
        self._store.settle(
            self._number,
            contents,
            look_up.end,
            settled=settled,
            forgotten=forgotten,
        )


def _read(reader: TopicReader, look_up: LookUp) -> LookUp:
    try:
        reader.read(look_up)
    except RequestRejected as exc:
        # The messages are not the reason, so they must not be rejected.
        raise EventStreamsError(f"{exc} (look-up for exactly_once)") from None
    return look_up
