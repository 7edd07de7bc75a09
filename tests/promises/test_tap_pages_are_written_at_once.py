"""A page is written before the next request, so nothing that delays the request delays it."""

import pytest

from tests.support.tap import bookmark, read_slowly
from tests.support.tap_output import ids


@pytest.mark.parametrize("settings", [{}, {"max_requests_per_minute": 1}], ids=["stall", "quota"])
def test_a_page_does_not_wait_for_the_next_response(emulator, topic, start_tap, settings):
    """The service does not respond, or the rate limiter does not send the request."""
    published = emulator.load(topic, [{"n": n} for n in range(60)])
    emulator.fault("stall", after=1, secs=60)
    tap = start_tap(topics=[topic], state_interval_secs=600, **settings)
    tap.wait_for_records(50)
    assert ids(tap.so_far) == published[:50]
    assert len(emulator.requests()) == 1 or not settings


def test_a_page_is_not_delayed_by_another_topics_pause(emulator, start_tap):
    """It is written although the service has just asked all topics to wait for a minute."""
    limited, slow = emulator.create_topic("limited"), emulator.create_topic("slow")
    published = emulator.load(slow, [{"n": n} for n in range(60)])
    emulator.fault("status", topic_id=limited, status=429, headers={"Retry-After": "60"})
    emulator.fault("latency", topic_id=slow, secs=0.5)
    # Both requests are in flight before the first response.
    emulator.configure(latency_secs=1.5)
    tap = start_tap(topics=[limited, slow], state_interval_secs=600)
    tap.wait_for_records(50)
    assert len(emulator.requests()) == 2
    assert ids(tap.so_far) == published[:50]


def test_a_page_is_not_delayed_by_an_outage(emulator, topic, start_tap):
    published = emulator.load(topic, [{"n": n} for n in range(60)])
    emulator.fault("reset", after=1, times=-1)
    tap = start_tap(topics=[topic], tail=True, state_interval_secs=1)
    tap.wait_for(lambda run: "retrying in" in run.stderr, "a retry")
    tap.wait_for_records(50)
    assert ids(tap.so_far) == published[:50]
    tap.wait_for_bookmark("topic_1", published[49])


def test_a_slow_loader_does_not_use_up_the_time_for_retries(emulator, topic, start_with_pipe):
    """A response that is lost after a page could not be written for long is requested again."""
    published = emulator.load(topic, [{"text": "x" * 10_000} for _ in range(60)])
    emulator.fault("cut", after=1)
    process = start_with_pipe(topics=[topic], max_retry_secs=1)
    # Writing the first page takes longer than max_retry_secs.
    outcome = read_slowly(process, chunk_bytes=60_000, rest_secs=0.2)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr.count("retrying in") == 1
    assert ids(outcome) == published
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]
