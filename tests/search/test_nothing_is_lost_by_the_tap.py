"""Whatever the topics, pages, faults and runs, the output is what was published.

The tap runs in this process, so that hundreds of runs can be tried.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tap_workato_streams import sync
from tap_workato_streams.event_streams import rate_limiter as pacing
from tap_workato_streams.event_streams import session as retrying
from tap_workato_streams.tap import TapWorkatoStreams
from workato_streams_emulator import Emulator

from tests.support.executables import Outcome
from tests.support.tap import bookmark
from tests.support.tap_output import all_ago, assert_states_are_true, ids

EXAMPLES = settings(max_examples=60)

FAULTS: list[dict[str, Any]] = [
    *({"kind": "status", "status": status} for status in (429, 503)),
    *({"kind": kind} for kind in ("reset", "reset_after", "cut", "cut_json", "html", "garbage")),
]
page_limits = st.none() | st.integers(1, 9)
# A topic, the number of requests before the fault, and the fault.
faults = st.tuples(st.integers(1, 3), st.integers(0, 8), st.sampled_from(FAULTS))
configs = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 50),
        "max_parallel_topics": st.integers(1, 4),
        "state_interval_secs": st.sampled_from([1e-6, 5]),
    }
)
# What happens to a topic next: this many messages are published, expire, or are read.
steps = st.tuples(st.sampled_from(["publish", "expire", "run", "run some"]), st.integers(1, 12))


@pytest.fixture(scope="module", autouse=True)
def _in_process() -> Iterator[None]:
    """Waits take no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrying, "LONGEST_WAIT_SECS", 0.001)
        patch.setattr(pacing, "LONGEST_PAUSE_SECS", 0.001)
        patch.setattr(pacing, "CAREFUL_SECS", 0.0)
        patch.setattr(TapWorkatoStreams, "_setup_signal_handlers", lambda _self: None)
        yield


def read(
    emulator: Emulator,
    *,
    state: object = None,
    state_interval_secs: float = 5,
    **config: Any,  # noqa: ANN401 - settings are JSON
) -> Outcome:
    """Run the tap against the emulator; errors are raised."""
    written = io.BytesIO()
    config = {"api_url": emulator.url, "api_token": emulator.token, **config}
    out = io.TextIOWrapper(written, write_through=True)
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sync, "STATE_INTERVAL_SECS", state_interval_secs)
        TapWorkatoStreams(config=config, state=state).sync_all()
        return Outcome(0, written.getvalue(), "")


@EXAMPLES
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    places=st.lists(st.none() | st.integers(0, 39), min_size=3, max_size=3),
    page_limit=page_limits,
    faults=st.lists(faults, max_size=5),
    config=configs,
)
def test_messages_after_the_bookmark_are_emitted_as_published(
    emulator_process, lengths, places, page_limit, faults, config
):
    emulator_process.reset()
    emulator_process.configure(page_limit=page_limit)
    state: dict[str, Any] = {"bookmarks": {}}
    expected = {}
    for topic, (length, place) in enumerate(zip(lengths, places, strict=False), start=1):
        emulator_process.create_topic(f"topic {topic}", id=topic)
        loaded = emulator_process.load(topic, [{"topic": topic, "n": n} for n in range(length)])
        start = 0
        if place is not None and place < length:
            start = place + 1
            state["bookmarks"][f"topic_{topic}"] = {"replication_key_value": loaded[place]}
        expected[f"topic_{topic}"] = [
            (message_id, {"topic": topic, "n": start + n})
            for n, message_id in enumerate(loaded[start:])
        ]
    for topic, after, fault in faults:
        emulator_process.fault(topic_id=topic, after=after, **fault)
    named = [{"id": topic} for topic in range(1, len(lengths) + 1)]
    outcome = read(emulator_process, state=state, topics=named, **config)
    for stream, messages in expected.items():
        records = outcome.records(stream)
        assert [(record["message_id"], record["payload"]) for record in records] == messages
        if messages:
            assert bookmark(outcome.states[-1], stream) == messages[-1][0]
    assert_states_are_true(outcome, state)


@pytest.mark.parametrize("start_from", ["earliest", "latest"])
@EXAMPLES
@given(
    story=st.lists(steps, min_size=3, max_size=12),
    batch_size=st.integers(1, 7),
    page_limit=page_limits,
)
def test_over_many_runs_each_remaining_message_is_emitted_once(
    emulator_process, start_from, story, batch_size, page_limit
):
    """From `latest`, those that were published before the first run are never read."""
    emulator_process.reset()
    emulator_process.configure(page_limit=page_limit)
    topic = emulator_process.create_topic()
    settings = {"topics": [{"id": topic}], "start_from": start_from, "batch_size": batch_size}
    published: list[str] = []
    read_up_to = gone_up_to = 0
    state: dict[str, Any] = {}
    if start_from == "latest":
        emulator_process.load(topic, [{"old": True}] * 5, times=all_ago(3 * 86_400, 5))
        first = read(emulator_process, **settings)
        assert first.records() == []
        state = first.states[-1]
    for kind, number in [*story, ("run", 0)]:
        if kind == "publish":
            published += emulator_process.load(topic, [{"n": 1}] * number)
            continue
        if kind == "expire":
            up_to = min(gone_up_to + number, len(published))
            if up_to > gone_up_to:
                emulator_process.expire(topic, published[up_to - 1])
                gone_up_to = up_to
            continue
        new = published[max(read_up_to, gone_up_to) :]
        limit = {"max_messages": number} if kind == "run some" else {}
        outcome = read(emulator_process, state=state, **settings, **limit)
        found = new[: limit.get("max_messages")]
        assert ids(outcome) == found
        assert_states_are_true(outcome, state)
        if found:
            read_up_to = published.index(found[-1]) + 1
        state = outcome.states[-1] if outcome.states else state
        # Only its time remains of a bookmark that has expired in a topic without messages.
        if bookmark(state, "topic_1") is not None or read_up_to > gone_up_to:
            assert bookmark(state, "topic_1") == published[read_up_to - 1]
