"""The rule of a target that remembers: what a look-up changes, and what is published again."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from target_workato_streams.delivery import store as stores
from target_workato_streams.delivery.published_rows import MemorySettings, PublishedRows
from target_workato_streams.delivery.records import PublishResult
from target_workato_streams.delivery.store import (
    Position,
    SqliteStore,
    Store,
    StoreError,
    open_store,
)
from target_workato_streams.delivery.topic_reader import TopicReader
from target_workato_streams.event_streams.consume import ConsumeClient, Cursor, Message, Messages
from target_workato_streams.event_streams.errors import EventStreamsError, RequestRejected
from target_workato_streams.event_streams.quota import StoreUrl
from target_workato_streams.message_key import RowVersion
from target_workato_streams.publishing.messages import OutgoingMessage
from target_workato_streams.singer_messages import Record, Stream
from typing_extensions import override

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
HOST, TOPIC = "https://host", 11
RECORD = Record(Stream("orders", ("id",)), b"{}", 1)
EXPIRED = RequestRejected("HTTP 404", status=404, reason="Not Found")


def version(text: str) -> RowVersion:
    """A legible version: "1a" is content a of row 1, and "x" a row without a key."""
    if len(text) == 1:
        return RowVersion(f"{ord(text):032x}", f"{ord(text):032x}")
    return RowVersion(f"{int(text[0]):032x}", f"{ord(text[1]):032x}")


def row(number: int) -> str:
    """The key of a row in a store."""
    return f"{number:032x}"


@dataclass
class Topic(ConsumeClient):
    """A topic of messages that are a minute old; their ids are A0, A1 and so on.

    `before` is called before each request with its number.
    """

    texts: list[str]
    before: Callable[[int], None] = lambda _number: None
    page: int = 2
    timeouts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the messages."""
        self.requests = 0
        self.date = NOW
        limiter = SimpleNamespace(sleep=lambda _secs: None)
        self.session: Any = SimpleNamespace(subject="topic 11", limiter=limiter)
        self.now = lambda: self.date
        self.messages = [self.message(n, text) for n, text in enumerate(self.texts)]

    @staticmethod
    def message(number: int, text: str, age: float = 60) -> Message:
        """A message with the version of a row."""
        payload = f'{{"key":"{version(text).key}"}}'.encode()
        time = (NOW - timedelta(seconds=age)).isoformat()
        return Message(f"A{number}", msgspec.Raw(payload), time)

    def request(self, cursor: Cursor, batch_size: int, timeout_secs: int = 0) -> Messages:
        """Respond as the service does, with small pages."""
        assert batch_size
        self.requests += 1
        self.timeouts.append(timeout_secs)
        self.before(self.requests)
        start = 0
        if cursor.after_message_id is not None:
            ids = [message.message_id for message in self.messages]
            if cursor.after_message_id not in ids:
                raise EXPIRED
            start = ids.index(cursor.after_message_id) + 1
        return Messages(self.messages[start : start + self.page], self.date)


class Target:
    """The rule with a store; each `run` is a new process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sequence = 0
        self.rows: PublishedRows[OutgoingMessage]
        self.run()

    def run(self, topic: Topic | None = None, key_field: str = "key") -> None:
        """Start a run, with `exactly_once` if the topic can be read."""
        settings = MemorySettings(
            self.store,
            HOST,
            key_field,
            None,
            (lambda _, label: TopicReader(topic, label, key_field)) if topic else None,
        )
        self.rows = PublishedRows(TOPIC, settings)
        self.rows.open("orders (topic 11)", lambda work: work())

    def request(self, texts: str) -> list[OutgoingMessage]:
        """Return what is to be published of these rows; they are in doubt then."""
        records = []
        for text in texts.split():
            self.sequence += 1
            records.append(OutgoingMessage(b"{}", RECORD, self.sequence, version(text)))
        wanted, _ = self.rows.select(records)
        return [*self.rows.missing(wanted)] if wanted else []

    def respond(self, sent: list[OutgoingMessage], message_id: str | None, **more: Any) -> bool:  # noqa: ANN401 - the other fields
        """Handle a response."""
        result = PublishResult(**{"failed": {}, "last_message_id": message_id, **more})
        is_enough = self.rows.on_response(sent, result)
        self.rows.settle(sent)
        return is_enough

    @property
    def contents(self) -> dict[int, str]:
        """What is remembered."""
        number = self.store.find(HOST, TOPIC)
        assert number is not None
        found = self.store.contents(number, [row(n) for n in range(10)])
        return {int(key, 16): chr(int(content, 16)) for key, (content, _) in found.items()}

    @property
    def in_doubt(self) -> set[int]:
        """Which rows are in doubt."""
        return {int(key, 16) for key in self._stored.in_doubt}

    @property
    def position(self) -> str | None:
        """The id of the position."""
        return self._stored.position.message_id

    @property
    def _stored(self) -> stores.StoredTopic:
        return self.store.open_topic(HOST, TOPIC, "orders", None)


@pytest.fixture(params=["file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store in each kind of database."""
    if request.param == "file":
        return f"{(tmp_path / 'rows.db').as_uri()}"
    host = request.getfixturevalue("postgres").socket
    name = f"t{abs(hash(tmp_path)):x}"[:32]
    return f"postgresql://postgres:pg-secret@/postgres?host={host}&name={name}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A connection to it."""
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture
def target(store: Store) -> Target:
    """A target that was killed after rows 1 and 2 had been sent again, with other contents."""
    target = Target(store)
    target.run(Topic([]))
    assert target.respond(target.request("1a 2a 3b"), "A2")
    target.request("1b 2b")
    assert target.in_doubt == {1, 2}
    return target


BEFORE = ["1a", "2a", "3b"]


@pytest.mark.parametrize(
    ("after", "contents"),
    [
        (["1b", "2b"], "bbb"),
        (["2b"], "abb"),
        ([], "aab"),
        # The last version wins, also one that is not of this target; row 3 is not in doubt.
        (["1c", "3c", "1b", "1c"], "cab"),
    ],
)
def test_a_look_up_changes_only_rows_in_doubt(target, after, contents):
    """A row that is not found keeps its content, if the position is valid."""
    topic = Topic(BEFORE + after)
    target.run(topic)
    assert target.contents == dict(enumerate(contents, 1))
    assert target.in_doubt == set()
    assert topic.requests
    # All that was read counts as read.
    assert target.position == f"A{len(BEFORE + after) - 1}"
    read = topic.requests
    target.run(topic)
    assert topic.requests == read


def test_of_an_expired_position_a_row_that_is_not_found_is_forgotten(target):
    """Its lost version may have been there; older versions of a sure row change nothing."""
    topic = Topic(["3a", "1a"])
    topic.messages = [Topic.message(-2, "3a"), Topic.message(-1, "1a")]
    target.run(topic)
    assert target.contents == {1: "a", 3: "b"}
    assert target.position == "A-1"


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_an_interrupted_look_up_changes_nothing(target, killed_at):
    """Otherwise, an older version could remain over the last one."""

    def kill(number: int) -> None:
        if number == killed_at:
            raise KeyboardInterrupt

    topic = Topic([*BEFORE, "1b", "2c", "2b", "1a"], before=kill, page=1)
    with pytest.raises(KeyboardInterrupt):
        target.run(topic)
    assert (target.contents, target.in_doubt, target.position) == (
        {1: "a", 2: "a", 3: "b"},
        {1, 2},
        "A2",
    )


def test_a_new_store_whose_reading_was_interrupted_is_still_new(store):
    def kill(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    target, texts = Target(store), ["1a", "2a", "1b"]
    with pytest.raises(KeyboardInterrupt):
        target.run(Topic(texts, before=kill))
    target.run(Topic(texts))
    assert (target.contents, target.position) == ({1: "b", 2: "a"}, "A2")


@pytest.mark.parametrize("key_field", ["other", ""])
def test_rows_in_doubt_under_another_key_are_forgotten(target, key_field):
    """Their messages have none that could be read."""
    topic = Topic([*BEFORE, "1b", "2b"])
    target.run(topic, key_field)
    assert (target.contents, target.in_doubt, topic.requests) == ({3: "b"}, set(), 0)


def test_rows_in_doubt_are_forgotten_without_exactly_once(target):
    target.run()
    assert (target.contents, target.in_doubt) == ({3: "b"}, set())


def test_rows_that_a_run_without_exactly_once_left_in_doubt_are_forgotten(store):
    """As they are without it, whatever the next run does."""
    target = Target(store)
    target.request("1a")
    topic = Topic(["1a"])
    target.respond(target.request("2a"), "A1")
    target.run(topic)
    assert (target.contents, target.in_doubt, topic.requests) == ({2: "a"}, set(), 0)


def test_a_run_without_exactly_once_moves_the_position_past_all_that_it_publishes(store):
    """A later look-up would find a version there that is not the last one, and end with it."""
    target = Target(store)
    assert target.respond(target.request("1a 2a"), "A0", unknown=[1])
    target.run()
    assert target.respond(target.request("1b 2b"), "A1", unknown=[1])
    topic = Topic(["1a", "1b"], page=1)
    target.run(topic)
    sent = target.request("1a")
    target.rows.on_lost(sent, is_throttled=False)
    assert [*target.rows.missing(sent)] == sent


def test_a_row_that_may_have_arrived_before_it_was_rejected_is_forgotten(store):
    """Otherwise, a row that goes back would be skipped, although the topic ends with b."""
    target = Target(store)
    assert target.respond(target.request("1a"), "A0")
    sent = target.request("1b")
    assert target.rows.on_lost(sent, is_throttled=False)
    assert [*target.rows.missing(sent)] == sent
    target.respond(sent, None, failed={0: "disk full"})
    assert [each.version for each in target.request("1a")] == [version("1a")]


@pytest.mark.parametrize(
    ("in_topic", "sent_again"),
    [("", "1b x x"), ("1b", "x x"), ("x", "1b x"), ("1b x x", ""), ("x x x 1b", "")],
)
def test_of_a_lost_request_what_is_missing_is_sent_again(store, in_topic, sent_again):
    """Rows without a key are counted."""
    target, topic = Target(store), Topic(["1a"])
    target.run(topic)
    sent = target.request("1b x x")
    target.rows.on_lost(sent, is_throttled=True)
    count = len(topic.messages)
    topic.messages += [topic.message(count + n, text) for n, text in enumerate(in_topic.split())]
    missing = [each.version for each in target.rows.missing(sent)]
    assert missing == [version(text) for text in sent_again.split()]


def test_a_message_that_is_delivered_again_counts_once(store):
    """Otherwise, a row without a key that did not arrive would not be sent again."""
    target, topic = Target(store), Topic(["1a"])
    target.run(topic)
    sent = target.request("x x")
    target.rows.on_lost(sent, is_throttled=False)
    topic.messages += [topic.message(1, "x")] * 2
    first = topic.requests + 1

    def stop_repeating(number: int) -> None:
        topic.messages = topic.messages[: 3 if number == first else 2]

    topic.before = stop_repeating
    assert len(target.rows.missing(sent)) == 1


def test_a_look_up_waits_for_messages_that_are_readable_late(target):
    """The request may have been applied just now."""
    topic = Topic(BEFORE)
    late = [topic.message(3, "1b"), topic.message(4, "2b")]
    topic.before = lambda _: topic.messages.extend(late if topic.timeouts[-1] else ())
    target.run(topic)
    assert topic.timeouts == [0, 5]
    assert target.contents == {1: "b", 2: "b", 3: "b"}


def test_a_look_up_ends_at_a_message_that_is_newer(target):
    """On a busy topic, it would never end otherwise."""
    topic = Topic(BEFORE)

    def publish_more(number: int) -> None:
        count = len(topic.messages)
        topic.messages += [topic.message(count + n, "9a", 20 - 10 * number) for n in range(2)]

    topic.before = publish_more
    target.run(topic)
    assert topic.requests < 10


class RepeatingTopic(Topic):
    """A topic whose service returns one of these messages, whatever is requested."""

    @override
    def request(self, cursor: Cursor, batch_size: int, timeout_secs: int = 0) -> Messages:
        self.requests += 1
        text = self.texts[self.requests % len(self.texts)]
        return Messages([self.message(ord(text), text)], self.date)


@pytest.mark.parametrize("ids", ["x", "xy"])
def test_a_service_that_repeats_pages_ends_the_run(target, ids):
    topic = RepeatingTopic([*ids])
    with pytest.raises(EventStreamsError, match="again after it was read"):
        target.run(topic)
    assert topic.requests < 10


@pytest.mark.parametrize("status", [401, 403])
def test_a_topic_that_cannot_be_read_is_no_expired_position(target, status):
    def reject(_number: int) -> None:
        raise RequestRejected("no", status=status, reason="no")

    with pytest.raises(EventStreamsError):
        target.run(Topic(BEFORE, before=reject))
    assert target.in_doubt == {1, 2}


def test_rows_that_have_not_come_for_days_are_forgotten(store, monkeypatch):
    """Days without a run don't count, and a row that comes unchanged is kept."""
    for day, came, contents in [
        (100, "1 2", {1, 2}),
        (103, "1", {1, 2}),
        (104, "1", {1, 2}),
        (150, "1", {1}),
    ]:
        monkeypatch.setattr(stores, "today", lambda day=day: day)
        topic = store.open_topic(HOST, TOPIC, "orders", 3)
        rows = [row(int(each)) for each in came.split()]
        if topic.is_known:
            store.touch(topic.number, rows)
        else:
            store.settle(topic.number, dict.fromkeys(rows, row(7)), Position("A"))
        keys = [row(n) for n in range(5)]
        assert {int(key, 16) for key in store.contents(topic.number, keys)} == contents


def test_tables_of_another_version_are_rejected(tmp_path):
    url = (tmp_path / "rows.db").as_uri()
    open_store(url).close()
    with sqlite3.connect(tmp_path / "rows.db") as db:
        db.execute("UPDATE workato_streams_version SET version = 2")
    db.close()
    store = SqliteStore(StoreUrl.parse(url))
    with pytest.raises(StoreError, match="tables of version 2, and this is a connector for"):
        store.create()
    store.close()


def test_a_row_takes_at_most_100_bytes(tmp_path):
    """10 million rows are less than 1 GB, written in batches as a target does."""
    path = tmp_path / "rows.db"
    store = open_store(path.as_uri())
    topic = store.open_topic(HOST, TOPIC, "orders", None).number
    with store._transaction():  # noqa: SLF001 - 200,000 rows take 2 s
        keys = [f"{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for n in range(200_000)]
        store._bulk("remember", topic, [(key, key, 1) for key in keys])  # noqa: SLF001
    store.close()
    assert path.stat().st_size / len(keys) <= 100
