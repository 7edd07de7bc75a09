"""The reader of a topic: what it reads, when it stops, and what it logs."""

import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from target_workato_streams.delivery.exactly_once.topic_reader import TopicReader
from target_workato_streams.delivery.records import Position
from target_workato_streams.event_streams.consume import ConsumeClient, Cursor, Message, Messages
from target_workato_streams.event_streams.errors import EventStreamsError, RequestRejected

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
KEY = f"{7:032}-{8:032}"
OURS = f'{{"id":1,"key":"{KEY}"}}'.encode()
OTHERS = b'{"id":1}'
NOT_FOUND = RequestRejected("orders (topic 11): HTTP 404", status=404, reason="Not Found")


@dataclass
class Topic(ConsumeClient):
    """A topic of messages that are so many seconds old, and the clock of its service.

    Attributes:
        ages: The age of each message in seconds; the ids are "0", "1" and so on.
        payload: The payload of each message.
        key_field: The field that contains the message key.
        ahead: How much the local clock is ahead.
        is_dated: Whether responses have a Date header.
        before: Called before each request with its number, starting at 1.
        sent: The cursor and the timeout of each request.
    """

    ages: Sequence[float]
    payload: bytes = OTHERS
    key_field: str = "key"
    ahead: timedelta = timedelta()
    is_dated: bool = True
    before: Callable[[int], None] = lambda _number: None
    sent: list[tuple[Cursor, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the messages."""
        self.date = NOW
        self.requests = 0
        limiter = SimpleNamespace(sleep=self.sleep)
        self.session: Any = SimpleNamespace(subject="topic 11", limiter=limiter)
        self.messages = [
            Message(str(number), msgspec.Raw(self.payload), self.time_of(age))
            for number, age in enumerate(self.ages)
        ]

    @staticmethod
    def time_of(age: float) -> str:
        """Return the time of a message of this age."""
        return (NOW - timedelta(seconds=age)).isoformat(timespec="milliseconds")

    def now(self) -> datetime:
        """Return the local time."""
        return self.date + self.ahead

    def sleep(self, secs: float) -> None:
        """Let time pass."""
        self.date += timedelta(seconds=secs)

    def request(self, cursor: Cursor, batch_size: int, timeout_secs: int = 0) -> Messages:
        """Respond as the service does."""
        self.requests += 1
        self.sent.append((cursor, timeout_secs))
        self.before(len(self.sent))
        found = self.messages
        if cursor.after_message_id is not None:
            ids = [message.message_id for message in found]
            if cursor.after_message_id not in ids:
                raise NOT_FOUND
            found = found[ids.index(cursor.after_message_id) + 1 :]
        elif cursor.since_time is not None:
            since = msgspec.convert(cursor.since_time, datetime).isoformat(timespec="milliseconds")
            found = found[bisect_right(found, since, key=lambda message: message.time or "") :]
        if not found:
            self.sleep(timeout_secs)
        return Messages(found[:batch_size], self.date if self.is_dated else None)

    @property
    def reader(self) -> TopicReader:
        """A reader of this topic."""
        return TopicReader(self, "orders (topic 11)", self.key_field)

    @property
    def cursors(self) -> list[str | None]:
        """The message id of each request that was sent."""
        return [cursor.after_message_id for cursor, _ in self.sent]

    def position(self, number: int) -> Position:
        """Return the position of a message."""
        return Position(str(number), self.time_of(self.ages[number]))


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize(
    ("ages", "most"),
    [
        ([], 3),
        ([3.0], 3),
        ([500.0], 6),
        ([5e6], 10),
        ([4e8], 12),
        ([9000 - n / 100 for n in range(20_000)], 26),
        ([300 - n / 1000 for n in range(20_000)], 46),
        ([9 - n / 120 for n in range(1000)], 11),
    ],
)
@pytest.mark.parametrize("ahead", [timedelta(), timedelta(hours=5), timedelta(hours=-5)])
def test_the_end_of_a_topic_is_found_in_few_requests(ages, most, ahead):
    """The age of the last message, the local clock and a burst of messages do not matter."""
    topic = Topic(ages, ahead=ahead)
    assert topic.reader.find_end().message_id == (str(len(ages) - 1) if ages else None)
    assert topic.requests <= most


def test_everything_after_a_position_is_found(caplog):
    topic = Topic([100 - n / 2 for n in range(100)], OURS)
    found = topic.reader.look_up(topic.position(19))
    assert [version.key for version in found.versions] == [KEY] * 80
    assert found.end == topic.position(99)
    assert topic.cursors == ["19", "69", "99"]
    reading, result = caplog.messages
    assert "reading the messages after message 19 to see what an interrupted run has" in reading
    assert "found 80 versions of 1 row after message 19, and 0 messages of other" in result
    assert result.endswith("(3 requests); their records will be skipped")
    assert Topic([30.0] * 10).reader.look_up(Position(None)).others == 10


def test_a_look_up_ends_at_a_message_that_is_newer():
    """On a busy topic, it would never end otherwise; the clocks of a service may differ."""
    topic = Topic([-1.0] * 60 + [-20.0] * 1000)
    assert topic.reader.look_up(Position(None)).messages == 100


@pytest.mark.parametrize("local_secs", [0, 30, -50])
def test_a_look_up_ends_without_a_date_header(local_secs, caplog):
    """The local clock decides, and a warning says so once."""
    topic = Topic([-1.0] * 60 + [-200.0] * 1000, is_dated=False)
    topic.ahead = timedelta(seconds=local_secs)
    reader = topic.reader
    for _ in range(2):
        assert reader.look_up(Position(None)).messages == 100
    [warning] = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert "orders (topic 11): responses have no Date header" in warning
    assert "exactly_once cannot apply" in warning


@pytest.mark.parametrize("time", ["2999-01-01T00:00:00", "soon"])
def test_a_time_without_meaning_does_not_end_a_look_up(time):
    """Without an offset, it could be before or after the look-up."""
    topic = Topic([1.0] * 160)
    topic.messages = [Message(m.message_id, m.payload, time) for m in topic.messages]
    assert topic.reader.look_up(Position(None)).messages == 160


def test_a_long_look_up_logs_its_progress(monkeypatch, caplog):
    """At 120 requests per minute, 8,000 messages of other producers take more than a minute."""
    topic = Topic([9000 - n for n in range(8000)])
    monkeypatch.setattr("time.monotonic", lambda: (topic.date - NOW) / timedelta(seconds=1))
    reader = topic.reader

    def report(_number: int) -> None:
        reader.report_progress()
        topic.sleep(0.5)

    topic.before = report
    reader.look_up(Position(None))
    topic.sleep(60)
    reader.report_progress()
    progress = [line for line in caplog.messages if "still reading" in line]
    assert len(progress) == 4
    assert progress[1].startswith(
        "orders (topic 11): still reading: 4,000 messages in 81 requests, 0 of them ours, now at "
    )


def test_a_message_counts_once():
    """The service may deliver a message again, and a page may end with an older one."""
    topic = Topic([100.0] * 80, OURS)
    once = list(topic.messages)
    topic.messages[2:2] = [once[0], once[1], once[1]]
    topic.messages[50:50] = [once[1]]

    def stop_repeating(number: int) -> None:
        topic.messages = once if number > 1 else topic.messages

    topic.before = stop_repeating
    found = topic.reader.look_up(topic.position(0))
    assert (len(found.versions), found.end.message_id) == (79, "79")
    assert topic.cursors == ["0", "46", "79"]


@pytest.mark.parametrize("ids", ["A", "AB"])
def test_a_look_up_ends_with_an_error_if_the_service_repeats_pages(ids):
    """The service returns the same page or pages, whatever is requested."""
    topic = Topic([30.0])
    message = topic.messages[0]

    def repeat(number: int) -> None:
        topic.messages = [
            Message(str(topic.sent[-1][0].after_message_id), message.payload, message.time),
            Message(ids[number % len(ids)], message.payload, message.time),
        ]

    topic.before = repeat
    with pytest.raises(EventStreamsError, match=r"orders \(topic 11\): .* again after it was read"):
        topic.reader.look_up(Position("0"))
    assert topic.requests <= 8


def test_a_look_up_ends_with_an_error_if_the_service_rejects_every_cursor():
    """Only the earliest page can be read."""
    topic = Topic([30.0] * 100)

    def reject(number: int) -> None:
        assert number < 50
        if topic.cursors[-1] is not None:
            raise NOT_FOUND

    topic.before = reject
    with pytest.raises(RequestRejected, match="HTTP 404"):
        topic.reader.look_up(Position(None))


def test_of_a_rejected_position_only_newer_messages_count(caplog):
    """The service may have another topic's messages; older ones were there before the position."""
    topic = Topic([70.0, 60.0, 50.0, 40.0], OURS)
    other = Position("other", topic.time_of(54))
    found = topic.reader.look_up(other)
    # Those within 6 s after the time of a response may be older than its message.
    assert (len(found.versions), found.end) == (1, topic.position(3))
    assert topic.cursors == ["other", None, "other", None, "3"]
    [warning] = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert "orders (topic 11): position other was rejected (HTTP 404: Not Found)" in warning
    assert "only messages after 2026-11-28T11:59:12Z count" in warning
    assert "they are published again" in warning


def test_if_no_message_is_newer_the_position_does_not_move_back():
    """A later look-up would take the messages after it for those of a lost request."""
    topic = Topic([70.0, 60.0], OURS)
    other = Position("other", topic.time_of(56.5))
    found = topic.reader.look_up(other)
    assert (found.versions, found.end) == ([], other)


def test_of_a_rejected_position_without_a_time_nothing_counts(caplog):
    """The position is the end of the topic, as if there had been none."""
    topic = Topic([70.0, 60.0], OURS)
    found = topic.reader.look_up(Position("other"))
    assert (found.versions, found.end) == ([], topic.position(1))
    assert "because the time of the position is unknown" in caplog.text


def test_a_look_up_waits_only_if_messages_may_become_readable():
    """After an interrupted run, and for a young position."""
    old = Topic([30.0])
    assert old.reader.look_up(old.position(0)).end == old.position(0)
    assert [secs for _, secs in old.sent] == [0]
    interrupted = Topic([30.0, 20.0], OURS)
    interrupted.reader.look_up(interrupted.position(0))
    assert [secs for _, secs in interrupted.sent] == [0, 5]
    # The first response shows that the local clock is wrong.
    young = Topic([2.0], ahead=timedelta(hours=1))
    young.reader.look_up(young.position(0))
    assert [secs for _, secs in young.sent] == [0, 5]


@pytest.mark.parametrize(
    ("payload", "name", "is_ours"),
    [
        ("[1]", "key", False),
        ("1", "key", False),
        ('{"key":1}', "key", False),
        ('{"key":"x"}', "key", False),
        ('{"a":"key"}', "key", False),
        # The service may return the same JSON object with other escapes.
        (f'{{"clé":"{KEY}"}}', "clé", True),
        (f'{{"cl\\u00e9":"{KEY}"}}', "clé", True),
        (f'{{"a/b":"{KEY}"}}', "a/b", True),
        (f'{{"a\\/b":"{KEY}"}}', "a/b", True),
    ],
)
def test_a_message_is_ours_if_it_has_a_message_key(payload, name, is_ours):
    """Other producers may publish any JSON value."""
    topic = Topic([30.0], payload.encode(), name)
    found = topic.reader.look_up(Position(None))
    assert [version.key for version in found.versions] == [KEY] * is_ours
    assert found.others == (not is_ours)


@pytest.mark.parametrize(
    ("status", "request_number", "requests"),
    [(401, 1, 1), (404, 0, 2), (422, 0, 2), (401, 3, 3), (403, 3, 3)],
)
def test_a_topic_that_cannot_be_read_is_no_rejected_position(status, request_number, requests):
    """The rejection of one request, or of each (0), is about the topic or the token."""
    topic = Topic([30.0])

    def reject(number: int) -> None:
        if request_number in {0, number}:
            raise RequestRejected("no", status=status)

    topic.before = reject
    with pytest.raises(EventStreamsError):
        topic.reader.look_up(Position("other"))
    assert topic.requests == requests
