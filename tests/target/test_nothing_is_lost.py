"""Whatever comes in and whatever goes wrong: topics, dead letters and states add up.

The whole target runs in this process, from its input to its output; only the service is played, so
that thousands of runs can be tried.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_workato_streams import target as from_config
from target_workato_streams.event_streams import session as retrying
from target_workato_streams.event_streams.errors import (
    EventStreamsError,
    RequestRejected,
    Unavailable,
)
from target_workato_streams.publishing import context as rejections
from target_workato_streams.publishing.client import PublishResult
from target_workato_streams.target import TargetWorkatoStreams

from tests.target.singer import lines, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_workato_streams.event_streams.session import ApiSession
    from target_workato_streams.publishing.summary import Tally

STREAMS = ("a", "b", "c")
# Two of the streams share a topic.
TOPICS = {"a": 1, "b": 1, "c": 2}
KINDS = ("none", "away", "lost", "entry", "missing", "too large")
DOUBLING = {"lost", "missing"}


@dataclass
class Service:
    """Simulates the service: stores what is published, unless the next fault prevents it.

    Args:
        faults: The fault of each request; later requests have none.
        whole: Whether one bad message makes it reject the whole batch.
    """

    faults: list[str]
    whole: bool
    stored: dict[int, list[bytes]] = field(default_factory=lambda: {1: [], 2: []})
    lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, topic_id: int, bodies: Sequence[bytes]) -> PublishResult:
        """Respond to a batch."""
        with self.lock:
            fault = self.faults.pop(0) if self.faults else "none"
            bad = {index for index, body in enumerate(bodies) if b'"bad"' in body}
            if fault == "away":
                raise Unavailable("away", status=503)
            if fault == "too large" and len(bodies) > 1:
                raise RequestRejected("too large", status=413)
            if bad and self.whole:
                raise RequestRejected("bad", status=400, reason="bad")
            failed = bad | ({len(bodies) // 2} if fault == "entry" else set())
            kept = [body for index, body in enumerate(bodies) if index not in failed]
            self.stored[topic_id] += kept
            if fault == "lost":
                raise Unavailable("no response")
            unknown = {len(bodies) // 3} if fault == "missing" else set()
            return PublishResult(dict.fromkeys(failed - unknown, "failed"), sorted(unknown))


class SimulatedTopic:
    """Stands for the client of one worker."""

    def __init__(self, session: ApiSession, service: Service, topic_id: int) -> None:
        self.session = session
        self._service = service
        self._topic_id = topic_id

    def publish(self, bodies: Sequence[bytes], tally: Tally) -> PublishResult:
        """Publish to the simulated service."""
        assert self.session.subject.endswith(f"(topic {self._topic_id})")
        tally.requests += 1
        return self._service.publish(self._topic_id, bodies)

    def not_understood(self, unknown: int, count: int) -> Unavailable:
        """Respond without saying what became of messages."""
        return Unavailable(f"{unknown} of {count} unknown", status=200)

    def close(self) -> None:
        """End."""


class Output(io.BytesIO):
    """Receives the states, and checks each immediately."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def write(self, text: Any) -> int:  # noqa: ANN401 - any buffer
        """Take a state, and check what it covers."""
        self._run.check(json.loads(bytes(text))["at"])
        return super().write(text)


@dataclass
class Run:
    """One run: what was fed in, and what became of it.

    Args:
        fed: (stream, whether it is bad, size) of each record, or None for a STATE.
        service: The simulated service.
        folder: Where the dead letters are.
    """

    fed: list[tuple[str, bool, int] | None]
    service: Service
    folder: Path
    emitted: list[int] = field(default_factory=list)

    @property
    def dead(self) -> list[int]:
        """The numbers of the records in the dead-letter file, as far as it is on disk."""
        path = self.folder / "dead.jsonl"
        found = path.read_bytes().splitlines() if path.exists() else []
        messages = [json.loads(line) for line in found]
        return [m["record"]["n"] for m in messages if m["type"] == "RECORD"]

    def published(self, topic_id: int) -> list[int]:
        """The numbers of the records in a topic."""
        return [json.loads(body)["n"] for body in self.service.stored[topic_id]]

    def good(self, topic_id: int, until: int | None = None) -> list[int]:
        """The numbers of the records that belong into a topic."""
        numbered = list(enumerate(self.fed))[:until]
        return [n for n, r in numbered if r and not r[1] and TOPICS[r[0]] == topic_id]

    @property
    def bad(self) -> list[int]:
        """The numbers of the records that the service never takes."""
        return [number for number, fed in enumerate(self.fed) if fed and fed[1]]

    def check(self, at: int) -> None:
        """A state covers only published records and dead letters, and is newer than the last."""
        with self.service.lock:
            for topic_id in (1, 2):
                assert set(self.good(topic_id, at)) <= set(self.published(topic_id))
        assert {number for number in self.bad if number < at} <= set(self.dead)
        assert not self.emitted or at > self.emitted[-1]
        self.emitted.append(at)

    def input(self) -> io.BytesIO:
        """The Singer lines."""
        found = [schema(stream, ("n",)) for stream in STREAMS]
        for number, fed in enumerate(self.fed):
            if fed is None:
                found.append(state(number))
            else:
                stream, bad, size = fed
                found.append(record(stream, n=number, pad="x" * size, kind="bad" if bad else "ok"))
        return io.BytesIO(lines(*found))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without waiting, and leave the signal handlers alone."""
    monkeypatch.setattr(rejections, "FIRST_WAIT_SECS", 0)
    monkeypatch.setattr(rejections.EntryRetries, "may_retry", lambda *args: args[-1] < 3)
    monkeypatch.setattr(retrying, "LONGEST_WAIT_SECS", 0)
    monkeypatch.setattr(TargetWorkatoStreams, "_setup_signal_handlers", lambda _self: None)


FED = st.lists(
    st.none() | st.tuples(st.sampled_from(STREAMS), st.booleans(), st.integers(0, 60)),
    max_size=60,
)
MOSTLY_GOOD = st.lists(
    st.none()
    | st.tuples(st.sampled_from(STREAMS), st.integers(0, 9).map(lambda n: n == 9), st.just(5)),
    max_size=60,
)


def few_entries(faults: list[str]) -> list[str]:
    """An entry that fails three times is a rejected message; here, only the bad ones may be."""
    hits = [number for number, fault in enumerate(faults) if fault in {"entry", "missing"}]
    return [fault for number, fault in enumerate(faults) if number not in hits[2:]]


FAULTS = st.lists(st.sampled_from(KINDS), max_size=20).map(few_entries)
SETTINGS = st.fixed_dictionaries(
    {
        "batch_size_rows": st.integers(1, 8),
        "max_batch_bytes": st.integers(150, 600),
        "max_in_flight": st.sampled_from([1, 1, 3]),
        "max_batch_age_secs": st.sampled_from([0, 60]),
        "validate_records": st.booleans(),
    }
)


@settings(max_examples=150)
@given(FED | MOSTLY_GOOD, SETTINGS, FAULTS, st.booleans())
def test_with_dead_letters_every_record_is_published_or_written_to_the_file(
    fed: list[tuple[str, bool, int] | None],
    chosen: dict[str, Any],
    faults: list[str],
    whole: bool,  # noqa: FBT001 - hypothesis gives it by position
) -> None:
    """Each good record once (more often only if a response was lost), each bad one in the file."""
    for run in running(fed, Service(list(faults), whole), chosen, on_rejected="dead_letter"):
        assert sorted(run.dead) == run.bad
        for topic_id in (1, 2):
            counts = Counter(run.published(topic_id))
            assert sorted(counts) == run.good(topic_id)
            if not DOUBLING & set(faults):
                assert set(counts.values()) <= {1}
            if chosen["max_in_flight"] == 1 and whole and not {"entry", "missing"} & set(faults):
                assert list(counts) == run.good(topic_id)
        states = [number for number, each in enumerate(fed) if each is None]
        assert run.emitted[-1:] == states[-1:]


@settings(max_examples=100)
@given(MOSTLY_GOOD, SETTINGS, FAULTS, st.booleans())
def test_without_dead_letters_everything_before_the_first_rejected_record_is_published(
    fed: list[tuple[str, bool, int] | None],
    chosen: dict[str, Any],
    faults: list[str],
    whole: bool,  # noqa: FBT001 - hypothesis gives it by position
) -> None:
    """This applies to all topics; the newest state before it is emitted, and none after it."""
    for run in running(fed, Service(list(faults), whole), chosen, on_rejected="fail"):
        first = run.bad[0] if run.bad else len(fed)
        for topic_id in (1, 2):
            assert set(run.good(topic_id, first)) <= set(run.published(topic_id))
        states = [number for number, each in enumerate(fed[:first]) if each is None]
        assert run.emitted[-1:] == states[-1:]


def running(
    fed: list[tuple[str, bool, int] | None],
    service: Service,
    chosen: dict[str, Any],
    *,
    on_rejected: str,
) -> Iterator[Run]:
    """Run the target; it fails only if a bad record may not become a dead letter."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        run = Run(fed, service, Path(folder))
        patch.setattr(
            from_config,
            "PublishClient",
            lambda session, topic_id: SimulatedTopic(session, service, topic_id),
        )
        patch.setattr(sys, "stdout", SimpleNamespace(buffer=Output(run)))
        target = TargetWorkatoStreams(
            config={
                "api_token": "token",
                "topics": TOPICS,
                "on_rejected": on_rejected,
                "max_retry_secs": 10**6,
                "dead_letter_path": str(run.folder / "dead.jsonl"),
                **chosen,
            }
        )
        try:
            target.listen(run.input())  # type: ignore[arg-type]
        except EventStreamsError:
            assert run.bad
            assert on_rejected == "fail"
        else:
            assert not run.bad or on_rejected == "dead_letter"
        yield run
