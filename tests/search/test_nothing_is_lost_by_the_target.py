"""Whatever comes in and whatever goes wrong: topics, dead letters and states add up.

The whole target runs in this process, from its input to its output, so that hundreds of runs can be
tried. The service is scripted.
"""

import json
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.messages_api import MessagesApi, batch_response, payloads_of, rejection
from tests.support.singer_lines import record, schema, state
from tests.support.target_in_process import EventStreamsError, listen

# Two of the streams share a topic.
TOPICS = {"a": 1, "b": 1, "c": 2}
KINDS = ("none", "away", "lost", "entry", "missing", "too large")


@dataclass
class Run:
    """One run, the service, and what became of the input.

    Attributes:
        fed: (stream, whether it is bad, size) of each record, or None for a STATE. The size
            also decides of which row the record is a version.
        faults: The fault of each request; later requests have none.
        whole: Whether one bad message makes the service reject the whole batch.
        in_order: Whether one batch of a topic is in flight at a time.
        file: The dead letters.
    """

    fed: list[tuple[str, bool, int] | None]
    faults: list[str]
    whole: bool
    in_order: bool
    file: Path
    emitted: list[int] = field(default_factory=list)
    stored: dict[int, list[bytes]] = field(default_factory=lambda: {1: [], 2: []})
    lock: threading.Lock = field(default_factory=threading.Lock)

    def respond(self, topic_id: int, _operation: str, body: bytes) -> bytes | None:
        """Store the messages of a batch, unless a fault prevents it."""
        bodies = payloads_of(body)
        with self.lock:
            fault = self.faults.pop(0) if self.faults else "none"
            bad = {index for index, body in enumerate(bodies) if b'"bad"' in body}
            if fault == "away":
                return rejection("503 Unavailable")
            if fault == "too large" and len(bodies) > 1:
                return rejection("413 Too Large")
            if bad and self.whole:
                return rejection("400 Bad Request")
            failed = bad | ({len(bodies) // 2} if fault == "entry" else set())
            kept = [body for index, body in enumerate(bodies) if index not in failed]
            self.stored[topic_id] += kept
            if fault == "lost":
                return None
            results = {n: None if n in failed else f"A{n}" for n in range(len(bodies))}
            if fault == "missing":
                del results[len(bodies) // 3]
            return batch_response(results)

    @property
    def dead(self) -> list[int]:
        """The numbers of the records in the dead-letter file, as far as it is on disk."""
        text = self.file.read_bytes() if self.file.exists() else b""
        messages = map(json.loads, text.splitlines())
        return [m["record"]["n"] for m in messages if m["type"] == "RECORD"]

    def row(self, number: int) -> tuple[str, int]:
        """The stream and the key of a record."""
        stream, _, size = self.fed[number] or ("", False, 0)
        return stream, size % 3

    def published(self, topic_id: int) -> list[int]:
        """The numbers of the records in a topic."""
        return [json.loads(body)["n"] for body in self.stored[topic_id]]

    def good(self, topic_id: int, until: int | None = None) -> list[int]:
        """The numbers of the records that belong into a topic."""
        numbered = list(enumerate(self.fed))[:until]
        return [n for n, r in numbered if r and not r[1] and TOPICS[r[0]] == topic_id]

    @property
    def bad(self) -> list[int]:
        """The numbers of the records that the service never accepts."""
        return [number for number, fed in enumerate(self.fed) if fed and fed[1]]

    def write(self, line: Any) -> int:  # noqa: ANN401 - any buffer
        """Check a state: it covers only what is published or dead, and is newer than the last.

        No row that it covers has an older version as its last message.
        """
        at = json.loads(bytes(line))["at"]
        with self.lock:
            for topic_id in (1, 2):
                published, covered = self.published(topic_id), self.good(topic_id, at)
                assert set(covered) <= set(published)
                newest = {self.row(number): number for number in published}
                assert all(newest[self.row(n)] >= n for n in covered) or not self.in_order
        assert {number for number in self.bad if number < at} <= set(self.dead)
        assert not self.emitted or at > self.emitted[-1]
        self.emitted.append(at)
        return len(line)

    def flush(self) -> None:
        """Nothing is buffered."""

    def input(self) -> list[bytes]:
        """The Singer lines."""
        found = [schema(stream, ("row",), row={}) for stream in "abc"]
        for number, fed in enumerate(self.fed):
            if fed is None:
                found.append(state(number))
            else:
                stream, bad, size = fed
                _, row = self.row(number)
                kind = "bad" if bad else "ok"
                found.append(record(stream, n=number, row=row, pad="x" * size, kind=kind))
        return [line + b"\n" for line in found]

    @property
    def states(self) -> list[int]:
        """The states in the input."""
        return [number for number, fed in enumerate(self.fed) if fed is None]


def inputs(bad: st.SearchStrategy[bool], size: int) -> st.SearchStrategy[list[Any]]:
    """Records, the largest of which have this size, and states."""
    records = st.tuples(st.sampled_from("abc"), bad, st.integers(0, size))
    return st.lists(st.none() | records, max_size=60)


FED = inputs(st.booleans(), 60)
MOSTLY_GOOD = inputs(st.integers(0, 9).map(lambda n: n == 9), 5)


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
        "stream_maps": st.sampled_from([{}, {"*": {}}]),
    }
)


@settings(max_examples=150)
@given(FED | MOSTLY_GOOD, SETTINGS, FAULTS, st.booleans())
def test_with_dead_letters_every_record_is_published_or_written_to_the_file(
    fed, chosen, faults, whole
):
    """Each good record once, each bad one in the file.

    More often only if a response was lost, or if a version follows an older one that was retried.
    """
    run = finished(fed, faults, chosen, whole=whole, dead_letters=True)
    for topic_id in (1, 2):
        counts = Counter(run.published(topic_id))
        assert sorted(counts) == run.good(topic_id)
        if not {"lost", "missing", "entry"} & set(faults):
            assert set(counts.values()) <= {1}
        if chosen["max_in_flight"] == 1 and whole and not {"entry", "missing"} & set(faults):
            assert list(counts) == run.good(topic_id)
    assert run.emitted[-1:] == run.states[-1:]


@settings(max_examples=100)
@given(MOSTLY_GOOD, SETTINGS, FAULTS, st.booleans())
def test_without_dead_letters_everything_before_the_first_rejected_record_is_published(
    fed, chosen, faults, whole
):
    """This applies to all topics; the newest state before it is emitted, and none after it."""
    run = finished(fed, faults, chosen, whole=whole, dead_letters=False)
    first = run.bad[0] if run.bad else len(fed)
    for topic_id in (1, 2):
        assert set(run.good(topic_id, first)) <= set(run.published(topic_id))
    assert run.emitted[-1:] == [at for at in run.states if at < first][-1:]


def finished(
    fed: list[Any], faults: list[str], chosen: dict[str, Any], *, whole: bool, dead_letters: bool
) -> Run:
    """Run the target; it fails only if a bad record may not become a dead letter."""
    with tempfile.TemporaryDirectory() as folder:
        in_order = chosen["max_in_flight"] == 1
        run = Run(fed, [*faults], whole, in_order, Path(folder, "dead.jsonl"))
        path = str(run.file) if dead_letters else None
        settings = {"topics": TOPICS, "dead_letter_path": path, **chosen}
        with MessagesApi(run.respond) as api:
            try:
                listen(run.input(), run, api_url=api.url, **settings)
            except EventStreamsError:
                assert run.bad
                assert not dead_letters
            else:
                assert sorted(run.dead) == run.bad
    return run
