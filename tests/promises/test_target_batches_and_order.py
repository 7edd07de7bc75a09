"""Records are grouped into batches by count, bytes and age, in order, for each topic."""

import contextlib
import json
import threading
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.running import eventually, never
from tests.support.singer_lines import orders, raw_record, record, schema, state


def sizes(emulator: Emulator) -> list[int]:
    """How many messages each request held."""
    return [len(json.loads(request.body)["payloads"]) for request in emulator.requests()]


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (1050, [100] * 10)]
)
def test_a_batch_closes_at_100_messages(emulator, run_target, count, expected):
    done = run_target(schema(), *orders(count))
    assert done.exit_code == 0
    assert sizes(emulator) == (expected if count != 1050 else [*expected, 50])


@pytest.mark.parametrize("excess", [-1, 0, 1, 2])
def test_a_batch_closes_at_its_measured_bytes(emulator, topic, run_target, excess):
    """The whole body in UTF-8 counts: no request is larger, and none could hold one more."""
    limit, frame = 1_048_576, len(b'{"payloads":[]}')
    texts = ["é" * (n % 9) + "\N{GRINNING FACE}" * (n % 5) + "x" * (40_000 + n) for n in range(60)]
    records = [json.dumps({"t": t}, ensure_ascii=False).encode() for t in texts]
    # The first 26 records fill a request, or exceed it.
    padding = limit + excess - frame - len(b",".join(records[:26]))
    records[0] = records[0].replace(b"x", b"x" * (padding + 1), 1)
    done = run_target(schema(), *map(raw_record, records))
    assert done.exit_code == 0
    assert [message.payload for message in emulator.messages(topic)] == records
    bodies = [request.body for request in emulator.requests()]
    assert len(bodies[0]) == limit + excess or excess > 0
    assert all(len(body) <= limit for body in bodies)
    firsts = [json.loads(body)["payloads"][0] for body in bodies[1:]]
    for body, first in zip(bodies, firsts, strict=False):
        added = len(json.dumps(first, ensure_ascii=False).encode()) + len(b",")
        assert len(body) + added > limit


def test_a_message_may_fill_a_request_exactly(emulator, topic, run_target):
    """The service's own limit of 1,048,576 bytes can be used whole; one byte more is rejected."""
    frame = len(b'{"payloads":[{"t":""}]}')
    largest = b'{"t":"%b"}' % (b"x" * (1_048_576 - frame))
    done = run_target(schema(), raw_record(largest))
    assert done.exit_code == 0
    assert len(emulator.requests()[0].body) == 1_048_576
    done = run_target(schema(), raw_record(largest.replace(b"xx", b"xxx", 1)))
    assert done.exit_code == 1
    assert "too large" in done.error_lines[0]
    assert len(emulator.messages(topic)) == 1


def test_streams_that_share_a_topic_share_its_batches_in_input_order(emulator, topic, run_target):
    fed = [record(f"s{n % 3}", id=n) for n in range(150)]
    done = run_target(*(schema(f"s{n}") for n in range(3)), *fed, state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [payload["id"] for payload in emulator.payloads(topic)] == list(range(150))
    assert sizes(emulator) == [100, 50]
    assert f"s0, s1, s2 (topic {topic}): 150 published" in done.stderr


@pytest.mark.parametrize("settings", [{}, {"stream_maps": {"*": {}}}])
def test_a_schema_change_preserves_the_order(emulator, topic, run_target, settings):
    fed = []
    for n in range(60):
        if n % 7 == 0:
            properties: dict[str, Any] = {"id": {"type": "integer"}, f"f{n}": {"type": "string"}}
            fed.append(schema(**properties))
        fed.append(record(id=n))
    done = run_target(*fed, batch_size_rows=10, **settings)
    assert done.exit_code == 0
    assert [payload["id"] for payload in emulator.payloads(topic)] == list(range(60))
    assert sizes(emulator) == [10] * 6


def test_max_in_flight_batches_are_sent_concurrently(emulator, topic, run_target):
    """As many requests run at a time as allowed; nothing is lost, and the state waits for all."""
    emulator.configure(latency_secs=0.3)
    done = run_target(schema(), *orders(120), state("all"), batch_size_rows=10, max_in_flight=4)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert sorted(payload["id"] for payload in emulator.payloads(topic)) == list(range(120))
    assert most_at_once(emulator) == 4


def test_no_batch_overtakes_an_earlier_one_by_more_than_max_in_flight(emulator, run_target):
    """Otherwise, all that follows a batch that is retried would be duplicated after a kill."""
    emulator.fault("latency", secs=1.5, times=1)
    done = run_target(schema(), *orders(100), batch_size_rows=10, max_in_flight=2)
    assert done.exit_code == 0
    slow, *others = sorted(emulator.requests(), key=lambda request: request.at)
    assert len(others) == 9
    # The other worker may have sent the batch before the slow one, and sends the one after it.
    assert slow.finished_at is not None
    assert sum(request.at < slow.finished_at for request in others) <= 2


def test_topics_are_published_concurrently_with_one_batch_each(emulator, topic, run_target):
    """A slow topic does not delay the others."""
    emulator.configure(latency_secs=0.3)
    topics = {f"s{n}": emulator.create_topic(f"t{n}") for n in range(3)}
    fed = [record(f"s{n % 3}", id=n) for n in range(90)]
    done = run_target(*map(schema, topics), *fed, topics=topics, batch_size_rows=10)
    assert done.exit_code == 0
    assert most_at_once(emulator) == 3
    for topic_id in topics.values():
        published = [payload["id"] for payload in emulator.payloads(topic_id)]
        assert published == sorted(published)
        assert len(published) == 30
    assert emulator.payloads(topic) == []


def test_reading_pauses_while_enough_batches_wait(emulator, start_target):
    """A service that does not respond fills the pipe, not the memory."""
    emulator.fault("stall", secs=60, times=-1)
    target = start_target(batch_size_rows=1)
    size, fed = 50_000, []

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            for number in range(200):
                target.feed(*orders(1, start=number, size=size))
                fed.append(number)

    target.feed(schema())
    feeding = threading.Thread(target=feed)
    feeding.start()
    eventually(emulator.requests, "the request without a response")
    # The batches that wait, one chunk of the input, and what the pipe holds.
    most = 10 * size + 256 * 1024 + 64 * 1024
    never(lambda: len(fed) * size > most, "more was read")
    target.kill()
    feeding.join()


def most_at_once(emulator: Emulator) -> int:
    """The most requests that the service worked on at the same time."""
    events = []
    for request in emulator.requests():
        assert request.finished_at is not None
        events += [(request.at, 1), (request.finished_at, -1)]
    running, most = 0, 0
    for _, step in sorted(events):
        running += step
        most = max(most, running)
    return most
