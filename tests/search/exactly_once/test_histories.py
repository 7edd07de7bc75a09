"""Histories of interrupted runs with `exactly_once`, including those that broke a simpler rule.

The target runs in this process, with the service of the simulation, whose faults are scripted.
"""

import json
import random
from collections.abc import Sequence
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.search.exactly_once.simulation.world import Options, World
from tests.support.messages_api import MessagesApi, batch_response, page, payloads_of, rejection
from tests.support.singer_lines import record, schema
from tests.support.target import dead_letters_in
from tests.support.target_in_process import Cursor, EventStreamsError, listen

# The service has no faults of its own.
FAULTLESS = Options((), kill=0, lost=0, partial=0, others=0)


class Pipeline:
    """A topic, and a pipeline whose state is kept from run to run, as Meltano does.

    `batches` are the rows of each publish request, such as "12", or "xx" without a key. After
    `rejects_look_ups_after` batches, look-ups are rejected.
    """

    def __init__(self, dead_letters: Path) -> None:
        self.world = World(random.Random(0), 1, FAULTLESS)  # noqa: S311 - no secret
        self.batches: list[str] = []
        self.look_ups = 0
        self.states: list[dict[str, Any]] = []
        self.rejects_look_ups_after = 100
        self._dead_letters = dead_letters
        self._script: list[str] = []
        self._is_killed = False

    def run(
        self,
        sent: str,
        script: str = "",
        returned: Sequence[dict[str, Any]] = (),
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> None:
        """Run the target with the stored state; it may be killed, but must not fail.

        Args:
            sent: What the tap emits: "1a" is version a of row 1, "x" a record without a key, and
                "|" a state that covers the records before it.
            script: What happens to each publish request: the indices of its entries that fail,
                "lost" (applied, but for these entries), "not applied", "rejected", "kill" (before
                the request) or "killed" (after it).
            returned: The states that the tap emits first; by default, the stored one.
            settings: The settings of the target.
        """
        self._is_killed = False
        self._script = [step.strip() for step in script.split(",")]
        stored = self.states[-1] if self.states else {}
        text = {"type": "string"}
        # Only one-letter records have no row.
        keys = ("id",) if any(len(each) > 1 for each in sent.split()) else ()
        given = [state_line(state) for state in returned or [stored]]
        given.append(schema("a", keys, id=text, v=text))
        count = 0
        for each in sent.split():
            if each == "|":
                given.append(state_line({"bookmarks": {**stored.get("bookmarks", {}), "a": count}}))
            else:
                count += 1
                row = {"id": each[:-1]} if each[:-1] else {}
                given.append(record("a", **row, v=each[-1]))
        with MessagesApi(self._respond) as api:
            config = {
                "api_url": api.url,
                "topics": {"*": 1},
                "exactly_once": True,
                "message_key_field": "message_key",
                "batch_size_rows": 3,
                "max_batch_age_secs": 3600,
                **dead_letters_in(self._dead_letters),
                **settings,
            }
            try:
                listen([line + b"\n" for line in given], self, **config)
            except EventStreamsError:
                if not self._is_killed:
                    raise

    @property
    def topic(self) -> str:
        """The row and the version of each message."""
        payloads = [json.loads(payload) for payload in self.payloads]
        return " ".join(f"{payload.get('id', '')}{payload['v']}" for payload in payloads)

    @property
    def payloads(self) -> list[bytes]:
        """The payload of each message."""
        return [bytes(each.message.payload) for each in self.world.topics[0].messages]

    @property
    def covered(self) -> list[int]:
        """How many records of a run the emitted states cover."""
        found = dict.fromkeys(state.get("bookmarks", {}).get("a") for state in self.states)
        return [each for each in found if each]

    def write(self, line: memoryview | bytes) -> int:
        """Store a state that the target emits."""
        if not self._is_killed:
            self.states.append(json.loads(bytes(line)))
        return len(line)

    def flush(self) -> None:
        """Nothing is buffered."""

    def _respond(self, _topic_id: int, operation: str, body: bytes) -> bytes | None:
        """Respond to a request; None to close the connection."""
        if operation == "consume":
            response: bytes | None = self._consume(json.loads(body))
        else:
            response = self._publish(payloads_of(body), self._script.pop(0) if self._script else "")
        # Nothing that a killed process does has an effect.
        return rejection("401 Unauthorized") if self._is_killed else response

    def _consume(self, request: dict[str, Any]) -> bytes:
        self.look_ups += 1
        if len(self.batches) >= self.rejects_look_ups_after:
            return rejection("400 Bad Request")
        # Nothing is young, so nothing is waited for.
        self.world.seconds += 60
        secs = request.pop("timeout_secs", 0)
        size = request.pop("batch_size")
        found = self.world.consume(0, Cursor(**request), size, secs).messages
        texts = [(each.message_id, bytes(each.payload), str(each.time)) for each in found]
        return page(texts, self._date())

    def _publish(self, bodies: list[bytes], step: str) -> bytes | None:
        self._is_killed = self._is_killed or step == "kill"
        if self._is_killed:
            return None
        records = [json.loads(body) for body in bodies]
        self.batches.append("".join(each.get("id", each["v"]) for each in records))
        if step == "rejected":
            return rejection("422 Unprocessable Content")
        if step == "not applied":
            return None
        date = self._date()
        ids = {
            index: None if str(index) in step else self.world.store(0, body)
            for index, body in enumerate(bodies)
        }
        self._is_killed = step == "killed"
        return None if "lost" in step else batch_response(ids, date)

    def _date(self) -> str:
        return f"Date: {format_datetime(self.world.date(), usegmt=True)}"


def state_line(value: dict[str, Any]) -> bytes:
    """Return a STATE line."""
    return json.dumps({"type": "STATE", "value": value}).encode()


@pytest.fixture
def pipe(tmp_path: Path) -> Pipeline:
    """A pipeline, and an empty topic."""
    return Pipeline(tmp_path / "dead.jsonl")


@pytest.mark.parametrize(
    ("sent", "script", "batches", "topic"),
    [
        pytest.param("1a 2a |", "lost", "12", "1a 2a", id="lost"),
        pytest.param("1a 2a |", "not applied", "12 12", "1a 2a", id="not applied"),
        pytest.param("1a 2a 3a |", "1, lost", "123 2", "1a 3a 2a", id="the response to a retry"),
        pytest.param("1a 2a 3a |", "02 lost, 0 lost", "123 13 1", "2a 3a 1a", id="partly applied"),
        # The index in the second request differs from that in the batch.
        pytest.param("1a 2a 3a |", "12 lost, 1", "123 23 3", "1a 2a 3a", id="a failed entry then"),
        # Equal records are matched by count.
        pytest.param("x x x |", "02, lost", "xxx xx", "x x x", id="equal records"),
        pytest.param("x x x |", "02 lost, 01 lost, 0 lost", "xxx xx xx x", "x x x", id="in parts"),
        # The halves of a batch do not contain messages that the look-up has found.
        pytest.param(
            "1a 2a 3! |", "12, rejected, lost, rejected", "123 23 2 3", "1a 2a", id="then rejected"
        ),
        # Otherwise, the topic could end with b.
        pytest.param("rb ra |", "0", "r r r", "rb ra", id="two versions of a row"),
        # Otherwise, the topic would contain a later record when the state is emitted.
        pytest.param("1a | 2a 3a |", "", "1 23", "1a 2a 3a", id="a batch is cut at a state"),
    ],
)
def test_after_a_lost_or_partial_response_only_what_is_missing_is_sent(
    pipe, sent, script, batches, topic
):
    """In order, and the state covers everything."""
    pipe.run(sent, script)
    assert (" ".join(pipe.batches), pipe.topic) == (batches, topic)
    assert pipe.covered[-1] == len(sent.replace("|", "").split())


def test_a_lost_response_costs_one_look_up(pipe):
    """Later batches do not cost more; the first contact costs three here."""
    pipe.run("1a 2a 3a 4a 5a 6a 7a 8a 9a |", "lost")
    assert pipe.look_ups == 3 + 1


@pytest.mark.parametrize(
    ("runs", "topic", "covered"),
    [
        pytest.param(
            [("x x x |", "02, kill"), ("x x x |", "")], "x x x", [3], id="equal records in parts"
        ),
        pytest.param(
            [("1a | 2a 3a |", "0, kill"), ("1a | 2a 3a |", "")],
            *("1a 2a 3a", [3]),
            id="a failed entry before a state",
        ),
        pytest.param(
            [("rb ra |", "0, kill"), ("rb ra |", "")], "rb ra", [2], id="two versions of a row"
        ),
        # The source is back at a, which is published at the end of the input.
        pytest.param(
            [("ra rb", ", killed"), ("ra 2z | 3z", "kill"), ("ra 2z |", ""), ("", "")],
            *("ra rb 2z ra", [2]),
            id="a reverted row",
        ),
        pytest.param(
            [("ra rb", ", killed"), ("ra |", "kill"), ("ra |", "")],
            *("ra rb ra", [1]),
            id="a kill before a reverted row is published",
        ),
        pytest.param(
            [("ra rb 2a 2b", ", , killed"), ("2a ra |", "")],
            *("ra rb 2a 2b 2a ra", [2]),
            id="reverted rows in input order",
        ),
        pytest.param(
            [("ra rb", ", killed"), ("ra rc |", "")], "ra rb rc", [2], id="a row that is updated"
        ),
        # This is a documented limit: without a STATE in the last line, nothing shows whether ra is
        # the newest version.
        pytest.param(
            [("ra rb", ", killed"), ("ra", ""), ("ra rb |", "")],
            *("ra rb ra rb", [2]),
            id="a tap that dies",
        ),
        # The record could still come, so the states list it; the last one covers everything.
        pytest.param(
            [("1a 2a", "killed"), ("2a | 3a |", ""), ("1a |", "")],
            *("1a 2a 3a 1a", [1, 2]),
            id="a row that the source has deleted",
        ),
        # This is a documented limit: the rule does not wait for the outcome of the first record.
        pytest.param(
            [("ra", "killed"), ("r! ra |", "rejected")], "ra ra", [2], id="a rejected record"
        ),
    ],
)
def test_a_run_after_an_interrupted_one_publishes_only_what_is_missing(pipe, runs, topic, covered):
    """No state covers a record that is not in the topic."""
    for sent, script in runs:
        pipe.run(sent, script)
    assert pipe.topic == topic
    # A state before these may be emitted, or replaced by them.
    assert pipe.covered[-len(covered) :] == covered


def test_a_record_that_is_rejected_without_being_sent_is_no_outcome_of_another(pipe):
    """The state that covers both is not emitted before the other one is published."""
    sent = f"1a {'2' * 1000}x |"
    pipe.run(sent, "kill", max_batch_bytes=1000)
    assert pipe.covered == []
    pipe.run(sent, max_batch_bytes=1000)
    assert (pipe.topic, pipe.covered) == ("1a", [2])


@pytest.mark.parametrize(
    ("maps", "sent", "topic"),
    [
        ({"a": {}, "b": {"__source__": "a"}}, "1x 2x |", "1x 1x 2x 2x"),
        ({"a": {"__key_properties__": []}}, "1x 1y |", "1x 1y"),
    ],
    ids=["a copy", "a row without its key"],
)
def test_what_stream_maps_make_of_a_row_is_no_second_version_of_it(pipe, maps, sent, topic):
    """If the first entry is retried, nothing is published again after it."""
    pipe.run(sent, "0", stream_maps=maps)
    assert sorted(pipe.topic.split()) == topic.split()
    assert len(set(pipe.payloads)) == len(topic.split())


def test_a_look_up_that_is_rejected_does_not_reject_the_messages(pipe, tmp_path):
    """The topic may contain them, so the run fails, and no state covers them."""
    pipe.run("1x |")
    pipe.rejects_look_ups_after = 2
    with pytest.raises(EventStreamsError, match="look-up after a lost response"):
        pipe.run("2x 3x |", "lost")
    assert pipe.topic == "1x 2x 3x"
    assert not (tmp_path / "dead.jsonl").exists()
    assert pipe.covered == [1]


def test_positions_after_an_empty_first_state_are_used(pipe):
    """Some taps emit an empty state before the one that they were given."""
    pipe.run("1x |")
    stored = pipe.states[-1]
    pipe.run("2x", "killed")
    pipe.run("2x |", returned=[{}, stored])
    assert pipe.topic == "1x 2x"
