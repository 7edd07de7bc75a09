"""A look-up reads what it must, and finds what is there: positions, ends, expired messages."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import msgspec
import pytest
from target_workato_streams.event_streams.consume import Message, Messages
from target_workato_streams.event_streams.errors import EventStreamsError, RequestRejected
from target_workato_streams.exactly_once.positions import Position
from target_workato_streams.input.messages import Record, Stream
from target_workato_streams.message_key import RowVersion
from target_workato_streams.publishing import messages as msg
from target_workato_streams.publishing.client import PublishResult
from target_workato_streams.publishing.look_up import KeyConsumer
from target_workato_streams.publishing.lost_responses import LostResponses
from target_workato_streams.state.checkpoints import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_workato_streams.event_streams.consume import Cursor

KEY = f"{7:032}-{8:032}"
OURS = f'{{"id":1,"key":"{KEY}"}}'.encode()


@dataclass
class Topic:
    """A topic of messages that are so many seconds old.

    Attributes:
        skew: How much the service's clock is ahead.
        dated: Whether responses have a Date header.
        expired: How many messages have expired.
        status: What each request is rejected with.
        time: The time of each message; None for the time according to its age.
        only_request: The number of the only request that is rejected with it.
    """

    ages: Sequence[float]
    skew: timedelta = timedelta()
    dated: bool = True
    expired: int = 0
    status: int | None = None
    only_request: int | None = None
    payload: bytes = b'{"id":1}'
    time: str | None = None
    cursors: list[Cursor] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the messages."""
        self._now = datetime.now(timezone.utc) + self.skew
        self._messages = [
            Message(
                str(number),
                msgspec.Raw(self.payload),
                self.time
                or (self._now - timedelta(seconds=age)).isoformat(timespec="milliseconds"),
            )
            for number, age in enumerate(self.ages)
        ][self.expired :]

    def consume(self, cursor: Cursor, *, batch_size: int) -> Messages:
        """Respond as the service does."""
        self.cursors.append(cursor)
        if self.status is not None and self.only_request in {None, len(self.cursors)}:
            raise RequestRejected("no", status=self.status, reason="no")
        found = self._messages
        if cursor.after_message_id is not None:
            ids = [message.message_id for message in found]
            if cursor.after_message_id not in ids:
                raise RequestRejected("gone", status=404, reason="gone")
            found = found[ids.index(cursor.after_message_id) + 1 :]
        elif cursor.since_time is not None:
            since = msgspec.convert(cursor.since_time, datetime)
            text = since.isoformat(timespec="milliseconds")
            found = found[bisect_right(found, text, key=lambda message: message.time) :]
        return Messages(found[:batch_size], self._now if self.dated else None)


@dataclass
class RepeatedPages:
    """A topic whose service returns the same pages of one message in turn, whatever is asked."""

    ids: str
    requests: int = 0

    def consume(self, cursor: Cursor, *, batch_size: int) -> Messages:  # noqa: ARG002
        """Respond as no service should."""
        assert self.requests < 100
        now = datetime.now(timezone.utc)
        found = self.ids[self.requests % len(self.ids)]
        self.requests += 1
        return Messages([Message(found, msgspec.Raw(OURS), now.isoformat())], now)


def consumer(topic: Topic) -> KeyConsumer:
    """A consumer of a topic."""
    return KeyConsumer(topic, "orders (topic 11)", "key")


@pytest.mark.parametrize(
    ("ages", "most"),
    [
        ([], 2),
        ([3.0], 2),
        ([500.0], 5),
        ([5e6], 9),
        ([4e8], 11),
        ([9000 - n / 100 for n in range(20_000)], 25),
        ([300 - n / 1000 for n in range(20_000)], 45),
        ([9 - n / 120 for n in range(1000)], 10),
    ],
)
@pytest.mark.parametrize("skew", [timedelta(), timedelta(hours=5), timedelta(hours=-5)])
def test_the_end_of_a_topic_is_found_in_few_requests(
    ages: list[float], most: int, skew: timedelta
) -> None:
    """The last message's age, the local clock and a burst of messages do not matter."""
    topic = Topic(ages, skew=skew)
    found = consumer(topic).find_end()
    assert found.position.message_id == (str(len(ages) - 1) if ages else None)
    assert len(topic.cursors) <= most + 1
    assert found.requests == len(topic.cursors)
    assert found.versions == []


def test_everything_behind_a_position_is_found() -> None:
    """Versions are found in topic order; messages of other producers are counted."""
    topic = Topic([100 - n for n in range(100)], payload=OURS)
    found = consumer(topic).read_after(Position("19"))
    assert len(found.versions) == 80
    assert found.versions[0].key == KEY
    assert found.position.message_id == "99"
    assert (found.requests, found.others, found.expired) == (3, 0, False)
    assert consumer(Topic([1.0] * 10)).read_after(Position(None)).others == 10


def test_a_look_up_ends_at_a_message_that_is_newer() -> None:
    """On a busy topic the end would run away; within the tolerance of clocks it reads on."""
    topic = Topic([-1.0] * 60 + [-20.0] * 1000, payload=OURS)
    found = consumer(topic).read_after(Position(None))
    assert len(found.versions) == 100
    undated = Topic([-20.0] * 160, dated=False, payload=OURS)
    assert len(consumer(undated).read_after(Position(None)).versions) == 160


@pytest.mark.parametrize("time", ["2999-01-01T00:00:00", "soon"])
def test_a_time_without_meaning_does_not_end_a_look_up(time: str) -> None:
    """Without an offset, it could be before or after the look-up."""
    topic = Topic([1.0] * 160, payload=OURS, time=time)
    assert len(consumer(topic).read_after(Position(None)).versions) == 160


def test_a_look_up_ends_with_an_error_where_the_service_repeats_a_page() -> None:
    """A page that ends where it began brings nothing new."""
    topic = RepeatedPages("A")
    with pytest.raises(EventStreamsError, match=r"orders \(topic 11\): .* again after it was read"):
        KeyConsumer(topic, "orders (topic 11)", "key").read_after(Position("0"))
    assert topic.requests <= 8


@pytest.mark.parametrize("payload", [b"[1]", b'{"key":1}', b'{"key":"x"}', b'{"a":"key"}', b"1"])
def test_other_payloads_are_not_ours(payload: bytes) -> None:
    """Producers may put any JSON object into a topic."""
    found = consumer(Topic([1.0], payload=payload)).read_after(Position(None))
    assert (found.versions, found.others) == ([], 1)


@pytest.mark.parametrize("name", ["clé", "a/b"])
@pytest.mark.parametrize("form", ["plain", "escaped", "slashed"])
def test_a_message_key_is_found_however_the_service_writes_the_name_of_its_field(
    name: str, form: str
) -> None:
    """The service may return the same JSON object with other escapes."""
    text = json.dumps({name: KEY}, ensure_ascii=form == "escaped")
    payload = (text.replace("/", "\\/") if form == "slashed" else text).encode()
    topic = Topic([1.0], payload=payload)
    found = KeyConsumer(topic, "orders (topic 11)", name).read_after(Position(None))
    assert [version.key for version in found.versions] == [KEY]


def test_an_expired_position_is_recognized() -> None:
    """What is left is read; the position is the last message of it, or none."""
    found = consumer(Topic([3.0] * 5, expired=2, payload=OURS)).read_after(Position("1"))
    assert (found.expired, len(found.versions), found.position.message_id) == (True, 3, "4")
    found = consumer(Topic([3.0] * 5, expired=5)).read_after(Position("1"))
    assert (found.expired, found.position) == (True, Position(None))


@pytest.mark.parametrize("status", [401, 404, 422])
def test_a_topic_that_cannot_be_read_is_no_expired_position(status: int) -> None:
    """The rejection is about the topic or the token."""
    with pytest.raises(RequestRejected):
        consumer(Topic([1.0], status=status)).read_after(Position("0"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_second_rejection_for_another_reason_is_no_expired_position(status: int) -> None:
    """The third request asks again for the position that the first one did not find."""
    topic = Topic([3.0] * 5, expired=2, status=status, only_request=3)
    with pytest.raises(EventStreamsError) as caught:
        consumer(topic).read_after(Position("1"))
    assert len(topic.cursors) == 3
    assert isinstance(caught.value, RequestRejected) or "HTTP 403" in str(caught.value)


@pytest.mark.parametrize("request_number", [1, 2])
def test_one_stray_rejection_is_no_expired_position(request_number: int) -> None:
    """It works again after a probe, at the position or in the middle of the look-up."""
    topic = Topic([3.0] * 70, payload=OURS, status=404, only_request=request_number)
    found = consumer(topic).read_after(Position("1"))
    assert (found.expired, len(found.versions), found.position.message_id) == (False, 68, "69")
    assert len(topic.cursors) == found.requests == 5


def test_a_missing_permission_is_named() -> None:
    """The error is one line with the topic."""
    with pytest.raises(EventStreamsError, match=r"orders \(topic 11\): HTTP 403 .* permission"):
        consumer(Topic([1.0], status=403)).find_end()


def our_message() -> msg.OutgoingMessage:
    """Create a message with the key `KEY`."""
    version = RowVersion.from_key(f'"{KEY}"'.encode())
    assert version is not None
    return msg.OutgoingMessage(b"{}", Record(Stream("orders"), b"{}", 1), 1, Checkpoint(), version)


def test_a_topic_is_looked_up_if_an_acknowledgement_names_no_message() -> None:
    """Without a message id, the position would be before messages that are acknowledged."""
    message = our_message()
    lost = LostResponses(consumer(Topic([3.0] * 5, payload=OURS)), Position("1"))
    assert not lost.acknowledge(PublishResult({}), [message])
    assert lost.missing([message]) == []
    assert lost.position.message_id == "4"
    assert lost.acknowledge(PublishResult({}, (), "5"), [message])
    assert lost.position.message_id == "5"


@pytest.mark.parametrize("expired", [False, True])
def test_a_message_that_expired_with_the_position_is_resent(expired: bool) -> None:  # noqa: FBT001
    """What is found instead may be an older message of the same content."""
    message = our_message()
    topic = Topic([3.0] * 5, payload=OURS, expired=2 * expired)
    lost = LostResponses(consumer(topic), Position("1"))
    assert lost.missing([message]) == [message]
    lost.suspect()
    assert lost.missing([message]) == ([message] if expired else [])
    assert lost.position.message_id == "4"
