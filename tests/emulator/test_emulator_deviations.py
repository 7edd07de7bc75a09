"""Deviations from the documented service: each affects its topic as described, and no other."""

import re
import time

import pytest
import requests

from tests.emulator.conftest import Api
from tests.support.running import eventually
from tests.tools.docs import ROOT

# Longer than any test.
NEVER_SECS = 600
LATE_SECS = 0.5


def pages(api: Api, topic: int, batch_size: int) -> list[list[int]]:
    """Read a topic as a client does, up to the first empty page."""
    found = []
    page = api.page(topic, batch_size=batch_size)
    while page:
        found.append([message["payload"]["n"] for message in page])
        last = page[-1]["message_id"]
        page = api.page(topic, batch_size=batch_size, after_message_id=last)
    return found


def test_a_message_becomes_readable_late(emulator, api, topic):
    other = emulator.create_topic()
    [old] = emulator.load(topic, [{"n": 0}])
    emulator.deviate(topic, readable_after_secs=LATE_SECS)
    sent = time.monotonic()
    new = api.publish(topic, '{"n":1}').json()["message_id"]
    eventually(lambda: api.consume(topic, after_message_id=new).ok, "the position")
    assert time.monotonic() >= sent + LATE_SECS
    assert api.numbers(topic, after_message_id=old) == [1]
    emulator.deviate(topic, readable_after_secs=NEVER_SECS)
    hidden = api.batch(topic, '{"n":2}', '{"n":3}').json()["message_ids"]["1"]["message_id"]
    assert api.consume(topic, after_message_id=hidden).status_code == 400
    assert api.numbers(topic) == [0, 1]
    assert [payload["n"] for payload in emulator.payloads(topic)] == [0, 1, 2, 3]
    api.publish(other, '{"n":4}')
    assert api.numbers(other) == [4]


def test_a_long_poll_ends_when_a_message_becomes_readable(emulator, api, topic):
    """Otherwise the client would time out before the long poll ends."""
    emulator.deviate(topic, readable_after_secs=LATE_SECS)
    api.publish(topic, '{"n":1}')
    assert api.numbers(topic, timeout_secs=60) == [1]


def test_messages_are_repeated(emulator, api, topic):
    """A page is no longer than requested and ends with a new message, so each one is delivered."""
    other = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(1, 7)])
    emulator.load(other, [{"n": 1}])
    emulator.deviate(topic, repeat_every=2)
    assert pages(api, topic, 50) == [[1, 2, 2, 3, 4, 4, 5, 6, 6]]
    assert pages(api, topic, 2) == [[1, 2], [3, 4], [5, 6]]
    assert pages(api, topic, 3) == [[1, 2, 2], [3, 4, 4], [5, 6, 6]]
    emulator.deviate(topic, repeat_every=1)
    assert pages(api, topic, 1) == [[n] for n in range(1, 7)]
    emulator.deviate(topic, repeat_every=2, repeat_in="next_page")
    assert pages(api, topic, 3) == [[1, 2, 3], [2, 4, 5], [4, 6]]
    emulator.deviate(topic, repeat_every=1, repeat_in="next_page")
    assert pages(api, topic, 2) == [[1, 2], [1, 3], [2, 4], [3, 5], [4, 6]]
    assert pages(api, topic, 1) == [[n] for n in range(1, 7)]
    assert pages(api, other, 50) == [[1]]
    emulator.deviate(topic)
    assert pages(api, topic, 50) == [[1, 2, 3, 4, 5, 6]]


def test_a_batch_is_stored_in_reverse_order(emulator, api, topic):
    emulator.deviate(topic, reverse_batches=True)
    entries = api.batch(topic, '{"n":0}', '{"n":1}', '{"n":2}').json()["message_ids"]
    page = api.page(topic)
    assert api.numbers(topic) == [2, 1, 0]
    assert [entries[str(n)]["message_id"] for n in (2, 1, 0)] == [m["message_id"] for m in page]


def test_the_ids_of_publish_are_no_positions(emulator, api, topic):
    emulator.configure(expired_status=404)
    emulator.deviate(topic, publish_ids_are_positions=False)
    published = [
        api.publish(topic, '{"n":1}').json()["message_id"],
        api.batch(topic, '{"n":2}').json()["message_ids"]["0"]["message_id"],
    ]
    for message_id in published:
        assert api.consume(topic, after_message_id=message_id).status_code == 404
    assert pages(api, topic, 1) == [[1], [2]]


def test_positions_are_rejected(emulator, api, topic):
    other = emulator.create_topic()
    first, second = emulator.load(topic, [{"n": 1}, {"n": 2}])
    [elsewhere] = emulator.load(other, [{"n": 3}])

    def statuses(*positions: str) -> list[int]:
        return [api.consume(topic, after_message_id=each).status_code for each in positions]

    emulator.fault("reject_position", topic_id=topic, times=2, status=404)
    assert api.consume(topic).status_code == 200
    assert api.consume(other, after_message_id=elsewhere).status_code == 200
    assert statuses(first, first, first) == [404, 404, 200]
    emulator.fault("reject_position", message_id=second, times=-1)
    assert statuses(first, second, second) == [200, 400, 400]
    emulator.clear_faults()
    emulator.fault("reject_position", times=-1)
    assert statuses(first, second, "Aunknown") == [400, 400, 400]


def test_messages_expire_during_a_read(emulator, api, topic):
    ids = emulator.load(topic, [{"n": n} for n in range(6)])
    emulator.fault("expire", topic_id=topic, after=1)
    assert api.numbers(topic, batch_size=2) == [0, 1]
    assert api.numbers(topic, batch_size=1, after_message_id=ids[1]) == [2]
    assert api.consume(topic, after_message_id=ids[2]).status_code == 400
    assert api.numbers(topic) == [3, 4, 5]
    emulator.fault("expire", up_to=ids[4])
    assert api.consume(topic, after_message_id=ids[3]).status_code == 400
    assert api.numbers(topic) == [5]


def test_a_request_is_applied_after_its_connection_was_closed(emulator, api, topic):
    emulator.fault("late", operation="publish", secs=LATE_SECS)
    with pytest.raises(requests.ConnectionError):
        api.publish(topic, '{"n":1}')
    api.publish(topic, '{"n":2}')
    emulator.wait_until_idle()
    late, in_time = emulator.requests()
    assert late.finished_at - late.at >= LATE_SECS - 0.01
    expected = [2, 1] if in_time.finished_at < late.finished_at else [1, 2]
    assert [payload["n"] for payload in emulator.payloads(topic)] == expected


def test_a_part_of_a_batch_is_stored_and_the_response_is_lost(emulator, api, topic):
    """`indices` are the entries that fail, with any fault that processes the batch."""
    emulator.fault("reset_after", indices=[0, 2])
    with pytest.raises(requests.ConnectionError):
        api.batch(topic, '{"n":0}', '{"n":1}', '{"n":2}')
    assert emulator.payloads(topic) == [{"n": 1}]


def test_the_calls_in_the_documentation_are_accepted(emulator):
    page = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
    calls = re.findall(r"`(emulator\.(?:fault|deviate)\(.*?\))`", page)
    assert len(calls) >= 10
    for call in calls:
        eval(call, {"emulator": emulator, "topic": emulator.create_topic()})  # noqa: S307 - our page
