"""Deviations from the documented service: each affects its topic as described, and no other."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.running import eventually
from tests.tools.docs import ROOT

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api

# Longer than any test.
NEVER_SECS = 600
LATE_SECS = 0.5


def numbers(page: list[dict[str, dict[str, int]]]) -> list[int]:
    return [message["payload"]["n"] for message in page]


def pages(api: Api, topic_id: int, batch_size: int) -> list[list[int]]:
    """Read a topic as a client does, up to the first empty page."""
    found = [api.page(topic_id, batch_size=batch_size)]
    while found[-1]:
        last = found[-1][-1]["message_id"]
        found.append(api.page(topic_id, batch_size=batch_size, after_message_id=last))
    return [numbers(page) for page in found[:-1]]


def test_a_message_becomes_readable_late(emulator: Emulator, api: Api) -> None:
    """Until then it is not delivered, and its id is rejected as a position."""
    topic_id, other = emulator.create_topic(), emulator.create_topic()
    (old,) = emulator.load(topic_id, [{"n": 0}])
    emulator.deviate(topic_id, readable_after_secs=LATE_SECS)
    sent = time.monotonic()
    new = api.publish(topic_id, '{"n":1}').json()["message_id"]
    eventually(lambda: api.consume(topic_id, after_message_id=new).ok, "the position")
    assert time.monotonic() >= sent + LATE_SECS
    assert numbers(api.page(topic_id, after_message_id=old)) == [1]
    emulator.deviate(topic_id, readable_after_secs=NEVER_SECS)
    hidden = api.batch(topic_id, '{"n":2}', '{"n":3}').json()["message_ids"]["1"]["message_id"]
    assert api.consume(topic_id, after_message_id=hidden).status_code == 400
    assert numbers(api.page(topic_id)) == [0, 1]
    assert [payload["n"] for payload in emulator.payloads(topic_id)] == [0, 1, 2, 3]
    api.publish(other, '{"n":4}')
    assert numbers(api.page(other)) == [4]


def test_a_long_poll_ends_when_a_message_becomes_readable(emulator: Emulator, api: Api) -> None:
    """Otherwise the client would time out before the long poll ends."""
    topic_id = emulator.create_topic()
    emulator.deviate(topic_id, readable_after_secs=LATE_SECS)
    api.publish(topic_id, '{"n":1}')
    assert numbers(api.page(topic_id, timeout_secs=60)) == [1]


def test_messages_are_repeated_in_a_page(emulator: Emulator, api: Api) -> None:
    """A page is no longer than requested, and each message is delivered."""
    topic_id, other = emulator.create_topic(), emulator.create_topic()
    emulator.load(topic_id, [{"n": n} for n in range(1, 7)])
    emulator.load(other, [{"n": 1}])
    emulator.deviate(topic_id, repeat_every=2)
    assert pages(api, topic_id, 50) == [[1, 2, 2, 3, 4, 4, 5, 6, 6]]
    assert pages(api, topic_id, 2) == [[1, 2], [3, 4], [5, 6]]
    assert pages(api, topic_id, 3) == [[1, 2, 2], [3, 4, 4], [5, 6, 6]]
    emulator.deviate(topic_id, repeat_every=1)
    assert pages(api, topic_id, 1) == [[n] for n in range(1, 7)]
    assert pages(api, other, 50) == [[1]]
    emulator.deviate(topic_id)
    assert pages(api, topic_id, 50) == [[1, 2, 3, 4, 5, 6]]


def test_messages_are_repeated_in_the_next_page(emulator: Emulator, api: Api) -> None:
    """The last message of a page is always new, and the end is an empty page."""
    topic_id = emulator.create_topic()
    emulator.load(topic_id, [{"n": n} for n in range(1, 7)])
    emulator.deviate(topic_id, repeat_every=2, repeat_in="next_page")
    assert pages(api, topic_id, 3) == [[1, 2, 3], [2, 4, 5], [4, 6]]
    emulator.deviate(topic_id, repeat_every=1, repeat_in="next_page")
    assert pages(api, topic_id, 2) == [[1, 2], [1, 3], [2, 4], [3, 5], [4, 6]]
    assert pages(api, topic_id, 1) == [[n] for n in range(1, 7)]


def test_a_batch_is_stored_in_reverse_order(emulator: Emulator, api: Api) -> None:
    """Each entry of the response has the id of its own message."""
    topic_id = emulator.create_topic()
    emulator.deviate(topic_id, reverse_batches=True)
    entries = api.batch(topic_id, '{"n":0}', '{"n":1}', '{"n":2}').json()["message_ids"]
    page = api.page(topic_id)
    assert numbers(page) == [2, 1, 0]
    assert [entries[str(n)]["message_id"] for n in (2, 1, 0)] == [m["message_id"] for m in page]


def test_the_ids_of_publish_are_no_positions(emulator: Emulator, api: Api) -> None:
    """They are rejected, and consume returns other ids, which are positions."""
    topic_id = emulator.create_topic()
    emulator.configure(expired_status=404)
    emulator.deviate(topic_id, publish_ids_are_positions=False)
    published = [
        api.publish(topic_id, '{"n":1}').json()["message_id"],
        api.batch(topic_id, '{"n":2}').json()["message_ids"]["0"]["message_id"],
    ]
    for message_id in published:
        assert api.consume(topic_id, after_message_id=message_id).status_code == 404
    assert pages(api, topic_id, 1) == [[1], [2]]


def test_positions_are_rejected(emulator: Emulator, api: Api) -> None:
    """Every position, a given one, or some requests; those without a position are not affected."""
    topic_id, other = emulator.create_topic(), emulator.create_topic()
    first, second = emulator.load(topic_id, [{"n": 1}, {"n": 2}])
    (elsewhere,) = emulator.load(other, [{"n": 3}])

    def statuses(*positions: str) -> list[int]:
        return [api.consume(topic_id, after_message_id=each).status_code for each in positions]

    emulator.fault("reject_position", topic_id=topic_id, times=2, status=404)
    assert api.consume(topic_id).status_code == 200
    assert api.consume(other, after_message_id=elsewhere).status_code == 200
    assert statuses(first, first, first) == [404, 404, 200]
    emulator.fault("reject_position", message_id=second, times=-1)
    assert statuses(first, second, second) == [200, 400, 400]
    emulator.clear_faults()
    emulator.fault("reject_position", times=-1)
    assert statuses(first, second, "Aunknown") == [400, 400, 400]


def test_messages_expire_during_a_read(emulator: Emulator, api: Api) -> None:
    """The position, or more messages, expire before a page is read; others can be read."""
    topic_id = emulator.create_topic()
    ids = emulator.load(topic_id, [{"n": n} for n in range(6)])
    emulator.fault("expire", topic_id=topic_id, after=1)
    assert numbers(api.page(topic_id, batch_size=2)) == [0, 1]
    assert numbers(api.page(topic_id, batch_size=1, after_message_id=ids[1])) == [2]
    assert api.consume(topic_id, after_message_id=ids[2]).status_code == 400
    assert numbers(api.page(topic_id)) == [3, 4, 5]
    emulator.fault("expire", up_to=ids[4])
    assert api.consume(topic_id, after_message_id=ids[3]).status_code == 400
    assert numbers(api.page(topic_id)) == [5]


def test_a_request_is_applied_after_its_connection_was_closed(emulator: Emulator, api: Api) -> None:
    """Its message comes after one that was published in the meantime."""
    topic_id = emulator.create_topic()
    emulator.fault("late", operation="publish", secs=LATE_SECS)
    with pytest.raises(requests.ConnectionError):
        api.publish(topic_id, '{"n":1}')
    api.publish(topic_id, '{"n":2}')
    emulator.wait_until_idle()
    late, in_time = emulator.requests()
    assert late.finished_at
    assert in_time.finished_at
    assert late.finished_at - late.at >= LATE_SECS - 0.01
    expected = [2, 1] if in_time.finished_at < late.finished_at else [1, 2]
    assert [payload["n"] for payload in emulator.payloads(topic_id)] == expected


def test_a_part_of_a_batch_is_stored_and_the_response_is_lost(emulator: Emulator, api: Api) -> None:
    """`indices` are the entries that fail, with any fault that processes the batch."""
    topic_id = emulator.create_topic()
    emulator.fault("reset_after", indices=[0, 2])
    with pytest.raises(requests.ConnectionError):
        api.batch(topic_id, '{"n":0}', '{"n":1}', '{"n":2}')
    assert emulator.payloads(topic_id) == [{"n": 1}]


def test_a_response_has_no_date(emulator: Emulator, api: Api) -> None:
    """Only the affected response lacks the header."""
    topic_id = emulator.create_topic()
    emulator.fault("no_date", operation="consume", topic_id=topic_id)
    assert "Date" in api.publish(topic_id, '{"n":1}').headers
    response = api.consume(topic_id)
    assert "Date" not in response.headers
    assert len(response.json()["messages"]) == 1
    assert "Date" in api.consume(topic_id).headers


def test_one_topic_is_unavailable(emulator: Emulator, api: Api) -> None:
    """A 503 with Retry-After for one page of one topic; the other topic goes on."""
    topic_id, other = emulator.create_topic(), emulator.create_topic()
    emulator.fault(
        "status", status=503, headers={"Retry-After": "4"}, operation="consume", topic_id=topic_id
    )
    assert api.consume(other).status_code == 200
    response = api.consume(topic_id)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "4")
    assert api.consume(topic_id).status_code == 200


def test_deviations_end_with_a_reset(emulator: Emulator, api: Api) -> None:
    """A new topic with the same id does not deviate, and its messages can be read at once."""
    topic_id = emulator.create_topic(id=11)
    emulator.deviate(topic_id, readable_after_secs=NEVER_SECS, publish_ids_are_positions=False)
    api.publish(topic_id, "{}")
    emulator.reset()
    emulator.create_topic(id=11)
    (message_id,) = emulator.load(11, [{"n": 1}])
    assert api.page(11)[0]["message_id"] == message_id
    assert api.publish(11, '{"n":2}').json()["message_id"] == emulator.messages(11)[1].message_id


def test_unknown_deviations_are_errors(emulator: Emulator) -> None:
    """The error names the deviation, or says that there is no such topic."""
    topic_id = emulator.create_topic()
    with pytest.raises(ValueError, match="repeat_evry"):
        emulator.deviate(topic_id, repeat_evry=2)
    with pytest.raises(ValueError, match="not found"):
        emulator.deviate(topic_id + 1, repeat_every=2)


def test_the_calls_in_the_documentation_are_accepted(emulator: Emulator) -> None:
    """The kinds, options and deviations in the table exist."""
    page = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
    calls = re.findall(r"`(emulator\.(?:fault|deviate)\(.*?\))`", page)
    assert len(calls) >= 10
    for call in calls:
        eval(call, {"emulator": emulator, "topic": emulator.create_topic()})  # noqa: S307 - our page
