"""A topic never ends with an older version of a row than it had, whatever entries fail."""

import random
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
from target_workato_streams.event_streams.errors import RequestRejected
from target_workato_streams.input.messages import Record, Stream
from target_workato_streams.publishing.client import PublishResult
from target_workato_streams.publishing.messages import OutgoingMessage, Published, Rejected
from target_workato_streams.publishing.sender import BatchSender
from target_workato_streams.publishing.summary import Tally
from target_workato_streams.state.checkpoints import Checkpoint

from tests.support.running import eventually
from tests.support.singer_lines import record, schema, state

KEYED, OTHER, KEYLESS = Stream("a", ("id",)), Stream("c", ("id",)), Stream("b")


def messages(rows: str, *streams: Stream) -> list[OutgoingMessage]:
    """Messages of rows, each a version of its own; of `KEYED` unless the streams are given."""
    return [
        OutgoingMessage(
            b"%d" % n, Record(stream, b'{"id":"%b"}' % row.encode(), n), n, Checkpoint()
        )
        for n, (row, stream) in enumerate(
            zip(rows, streams or [KEYED] * len(rows), strict=True), start=1
        )
    ]


def settled(outcome: Published | Rejected) -> list[int]:
    """The sequence numbers of messages with an outcome."""
    done = outcome.messages if isinstance(outcome, Published) else [outcome.message]
    return [message.sequence for message in done]


class Topic:
    """Accepts messages, except the entries that are to fail in each request; -1 rejects it.

    It stands for the client, its session, and the context with what decides about retries.
    """

    def __init__(self, *failing: set[int]) -> None:
        self.accepted: list[int] = []
        self._failing = list(failing)
        # An entry is tried three times.
        self.entry_retries = SimpleNamespace(
            may_retry=lambda _reason, _failed_at, tries: tries < 3, wait=lambda _tries: None
        )
        self.session = SimpleNamespace(retry=lambda request: request())
        self.wakeup = SimpleNamespace(call=lambda: None)
        self._sender = BatchSender(self, self)  # type: ignore[arg-type]

    def publish(self, bodies: Sequence[bytes], _tally: Tally) -> PublishResult:
        """Respond to a request."""
        failing = self._failing.pop(0) if self._failing else set()
        if failing == {-1}:
            raise RequestRejected("rejected", status=422, reason="rejected")
        self.accepted += [int(body) for i, body in enumerate(bodies) if i not in failing]
        return PublishResult({index: "failed" for index in failing if index < len(bodies)})

    def outcomes(self, sent: Sequence[OutgoingMessage]) -> Iterator[Published | Rejected]:
        """Publish a batch."""
        return self._sender.publish(sent)


@pytest.mark.parametrize(
    ("rows", "failing", "expected"),
    [
        ("rr", [{0}], [2, 1, 2]),
        ("rrr", [{0}], [2, 3, 1, 3]),
        ("rrr", [{1}], [1, 3, 2, 3]),
        ("rrr", [{2}], [1, 2, 3]),
        ("rrr", [{0, 2}], [2, 1, 3]),
        ("rrr", [{0, 2}, {1}], [2, 1, 3]),
        ("rrr", [{0, 2}, {0}], [2, 3, 1, 3]),
        ("rs", [{0}], [2, 1]),
        ("rsrs", [{0, 1}], [3, 4, 1, 2, 3, 4]),
        ("rr", [{0}, set(), {0}], [2, 1, 2]),
        ("rr", [{-1}], [1, 2]),
        ("rsrsxr", [{0, 1, 5}, {0, 1}], [3, 4, 5, 6, 1, 2, 4, 6]),
        # The second version is still retried when the first message is rejected.
        ("srr", [{0, 1}, {-1}, {-1}], [3, 2, 3]),
    ],
)
def test_the_newest_version_is_published_once_more_behind_a_retried_one(rows, failing, expected):
    """A version is published again only if the retried one is older, and only once."""
    topic = Topic(*failing)
    done = [number for each in topic.outcomes(messages(rows)) for number in settled(each)]
    assert topic.accepted == expected
    assert sorted(done) == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("streams", [(KEYED, OTHER), (KEYLESS, KEYLESS)])
def test_other_streams_and_records_without_a_key_are_no_versions_of_a_row(streams):
    """They are never published twice."""
    topic = Topic({0})
    list(topic.outcomes(messages("rr", *streams)))
    assert topic.accepted == [2, 1]


def test_whatever_fails_each_row_ends_with_its_newest_version():
    """Each message has one outcome, which comes after the newest version of its row."""
    chance = random.Random(1)  # noqa: S311 - no secret
    for _ in range(2000):
        count = chance.randint(1, 8)
        rows = "".join(chance.choice("rst") for _ in range(count))
        failing = [
            {-1} if chance.random() < 0.1 else {n for n in range(8) if chance.random() < 0.3}
            for _ in range(chance.randint(0, 4))
        ]
        topic, done = Topic(*failing), []
        for outcome in topic.outcomes(messages(rows)):
            done += settled(outcome)
            for number in settled(outcome) if isinstance(outcome, Published) else []:
                versions = [n for n in topic.accepted if rows[n - 1] == rows[number - 1]]
                assert versions[-1] >= number
        assert sorted(done) == list(range(1, count + 1))


def test_a_topic_does_not_end_with_the_older_version_of_a_row(emulator, topic, run_target):
    emulator.fault("entry_error", indices=[0])
    sent = [record(id=1, v="old"), record(id=2, v="x"), record(id=1, v="new")]
    done = run_target(schema(v={"type": "string"}), *sent, state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [p["v"] for p in emulator.payloads(topic)] == ["x", "new", "old", "new"]


def test_an_acknowledgement_waits_for_older_versions_only(emulator, topic, start_target):
    """The state after the old version is emitted while the new one is still retried."""
    emulator.fault("entry_error", indices=[1])
    emulator.fault("stall", secs=600, after=1)
    target = start_target(batch_size_rows=2)
    target.feed(schema(v={"type": "string"}))
    target.feed(record(id=1, v="old"), state("old"), record(id=1, v="new"), state("new"))
    eventually(lambda: target.emitted == ["old"], "the state of the old version")
    assert [p["v"] for p in emulator.payloads(topic)] == ["old"]


def test_the_row_of_a_message_is_that_of_its_stream_map(emulator, topic, run_target):
    """A stream map changes the key: records of different ids are versions of one row."""
    emulator.fault("entry_error", indices=[0])
    sent = [record(id=1, group="g", v="old"), record(id=2, group="g", v="new")]
    described = schema(id={}, group={}, v={})
    maps = {"orders": {"__key_properties__": ["group"]}}
    done = run_target(described, *sent, state("all"), stream_maps=maps)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [p["v"] for p in emulator.payloads(topic)] == ["new", "old", "new"]
