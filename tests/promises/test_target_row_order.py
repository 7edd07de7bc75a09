"""A topic never ends with an older version of a row than it had, whatever entries fail."""

import random
from collections.abc import Callable, Iterator, Sequence

import msgspec
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

KEYED, KEYLESS = Stream("a", ("id",)), Stream("b")


def messages(*rows: str, stream: Stream = KEYED) -> list[OutgoingMessage]:
    """Messages of rows, each a version of its own."""
    return [
        OutgoingMessage(
            b"%d" % n, Record(stream, b'{"id":"%b"}' % row.encode(), n), n, Checkpoint()
        )
        for n, row in enumerate(rows, 1)
    ]


class Topic:
    """Accepts messages, except the entries that are to fail in each request.

    It stands for the client, its session, and the context with what decides about retries.
    """

    def __init__(self, *failing: set[int]) -> None:
        self.accepted: list[int] = []
        self.session = self
        self._failing = list(failing)
        self.entry_retries = self
        self.wakeup = self
        self._sender = BatchSender(self, self)  # type: ignore[arg-type]

    def retry(self, request: Callable[[], PublishResult]) -> PublishResult:
        """Send a request without retries."""
        return request()

    def may_retry(self, _reason: str, _failed_at: float, tries: int) -> bool:
        """Try an entry three times."""
        return tries < 3

    def wait(self, _tries: int) -> None:
        """Do not wait."""

    def call(self) -> None:
        """Wake nothing."""

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
    ],
)
def test_the_newest_version_is_published_once_more_behind_a_retried_one(rows, failing, expected):
    """A version is published again only if the retried one is older, and only once."""
    topic = Topic(*failing)
    sent = messages(*rows)
    outcomes = list(topic.outcomes(sent))
    assert topic.accepted == expected
    acknowledged = [m.sequence for each in outcomes for m in getattr(each, "messages", ())]
    assert sorted(acknowledged) == [m.sequence for m in sent]


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ([{0}, {0}, {0}], [[2], [1]]),
        ([{1}], [[1], [2]]),
        ([{0}], [[2, 1]]),
    ],
)
def test_an_acknowledgement_waits_only_for_older_versions(failing, expected):
    """A rejected message comes last, because it may end the run."""
    outcomes = Topic(*failing).outcomes(messages("r", "r"))
    done = [each.messages if isinstance(each, Published) else [each.message] for each in outcomes]
    assert [[message.sequence for message in part] for part in done] == expected


def test_a_rejected_message_does_not_release_rows_that_are_still_retried():
    """The second version is still retried when the first message is rejected."""
    topic = Topic({0, 1}, {-1}, {-1})
    list(topic.outcomes(messages("s", "r", "r")))
    assert topic.accepted == [3, 2, 3]


def test_streams_do_not_share_rows():
    """The same key in another stream belongs to another row."""
    sent = messages("r", "r")
    record = Record(Stream("c", ("id",)), sent[1].record.text, 2)
    topic = Topic({0})
    list(topic.outcomes([sent[0], msgspec.structs.replace(sent[1], record=record)]))
    assert topic.accepted == [2, 1]


def test_rows_without_a_key_have_no_versions():
    """Messages without a key are never published twice."""
    topic = Topic({0})
    list(topic.outcomes(messages("r", "r", stream=KEYLESS)))
    assert topic.accepted == [2, 1]


def test_whatever_fails_each_row_ends_with_its_newest_version():
    """Each message has one outcome, which comes after the newest version of its row."""
    chance = random.Random(1)  # noqa: S311 - no secret
    for _ in range(2000):
        count = chance.randint(1, 8)
        sent = messages(*(chance.choice("rst") for _ in range(count)))
        failing = [
            {-1} if chance.random() < 0.1 else {n for n in range(8) if chance.random() < 0.3}
            for _ in range(chance.randint(0, 4))
        ]
        topic = Topic(*failing)
        settled: list[int] = []
        for outcome in topic.outcomes(sent):
            done = outcome.messages if isinstance(outcome, Published) else [outcome.message]
            settled += [message.sequence for message in done]
            for message in done if isinstance(outcome, Published) else []:
                row = [m.sequence for m in sent if m.record.text == message.record.text]
                last = [s for s in topic.accepted if s in row][-1]
                assert last >= message.sequence
        assert sorted(settled) == [message.sequence for message in sent]


def test_a_topic_does_not_end_with_the_older_version_of_a_row(emulator, topic, run_target):
    """Without `exactly_once`, the newer version is published once more after the retried one."""
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
