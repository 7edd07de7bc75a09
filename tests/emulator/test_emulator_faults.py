"""Faults on order: each does to a request what it says, and to no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from tests.emulator.conftest import Api
    from tests.emulator.control import Emulator


def statuses(emulator: Emulator) -> list[int | None]:
    return [request.status for request in emulator.requests()]


def test_a_reset_comes_before_processing(emulator: Emulator, api: Api) -> None:
    """The connection is reset, and the message is not stored."""
    topic_id = emulator.create_topic()
    emulator.fault("reset")
    with pytest.raises(requests.ConnectionError, match="reset"):
        api.publish(topic_id, "{}")
    assert emulator.messages(topic_id) == []
    assert statuses(emulator) == [None]
    assert api.publish(topic_id, "{}").status_code == 200


def test_a_reset_comes_after_processing(emulator: Emulator, api: Api) -> None:
    """The message is stored, and the connection is reset all the same."""
    topic_id = emulator.create_topic()
    emulator.fault("reset_after")
    with pytest.raises(requests.ConnectionError, match="reset"):
        api.publish(topic_id, "{}")
    assert len(emulator.messages(topic_id)) == 1
    assert statuses(emulator) == [None]


def test_a_body_is_cut_short(emulator: Emulator, api: Api) -> None:
    """Less comes than Content-Length says; the message is stored."""
    topic_id = emulator.create_topic()
    emulator.fault("cut")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        api.publish(topic_id, "{}")
    assert len(emulator.messages(topic_id)) == 1
    assert api.publish(topic_id, "{}").status_code == 200


def test_json_is_cut_short(emulator: Emulator, api: Api) -> None:
    """The body is whole for HTTP, and half a JSON text."""
    topic_id = emulator.create_topic()
    emulator.fault("cut_json")
    answer = api.publish(topic_id, "{}")
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.content)
    assert len(emulator.messages(topic_id)) == 1


def test_other_bodies_come_in_place(emulator: Emulator, api: Api) -> None:
    """A web page, or JSON of another shape, comes with 200 in place of the answer."""
    topic_id = emulator.create_topic()
    emulator.fault("html")
    answer = api.publish(topic_id, "{}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert answer.text.startswith("<!DOCTYPE html>")
    emulator.fault("garbage")
    assert api.publish(topic_id, "{}").json() == []
    emulator.fault("garbage", body={"messages": 7})
    assert api.publish(topic_id, "{}").json() == {"messages": 7}
    assert len(emulator.messages(topic_id)) == 3


def test_any_status_comes_on_order(emulator: Emulator, api: Api) -> None:
    """A status with its body and headers, before the message is stored or after."""
    topic_id = emulator.create_topic()
    emulator.fault("status")
    assert api.publish(topic_id, "{}").status_code == 500
    emulator.fault("status", status=503, body="busy", headers={"Retry-After": "3"})
    answer = api.publish(topic_id, "{}")
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (503, "busy", "3")
    assert emulator.messages(topic_id) == []
    emulator.fault("status", status=504, body=b"", stored=True)
    answer = api.publish(topic_id, "{}")
    assert (answer.status_code, answer.content) == (504, b"")
    assert len(emulator.messages(topic_id)) == 1


def test_a_stall_gives_no_answer(emulator: Emulator, api: Api) -> None:
    """Nothing comes for a while, then the connection ends; stored or not as ordered."""
    topic_id = emulator.create_topic()
    emulator.fault("stall", secs=0.3)
    with pytest.raises(requests.ConnectionError):
        api.publish(topic_id, "{}")
    assert emulator.messages(topic_id) == []
    (request,) = emulator.requests()
    assert request.finished_at is not None
    assert request.finished_at - request.at >= 0.29
    emulator.fault("stall", secs=60, stored=True)
    with pytest.raises(requests.ReadTimeout):
        api.post(f"/api/v1/topics/{topic_id}/publish", "{}", timeout=0.2)
    assert len(emulator.messages(topic_id)) == 1


def test_one_request_is_late(emulator: Emulator, api: Api) -> None:
    """Latency on order slows one request, which is served all the same."""
    topic_id = emulator.create_topic()
    emulator.fault("latency", secs=0.3)
    assert api.publish(topic_id, "{}").status_code == 200
    (request,) = emulator.requests()
    assert request.finished_at is not None
    assert request.finished_at - request.at >= 0.29


def test_a_redirect_points_elsewhere(emulator: Emulator, api: Api) -> None:
    """The client is sent to another place, and nothing is stored."""
    topic_id = emulator.create_topic()
    emulator.fault("redirect", location="https://sign-in.invalid/")
    answer = api.publish(topic_id, "{}")
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://sign-in.invalid/")
    emulator.fault("redirect", status=307)
    assert api.publish(topic_id, "{}").status_code == 307
    assert emulator.messages(topic_id) == []


def test_entries_of_a_batch_fail_once(emulator: Emulator, api: Api) -> None:
    """The ordered entries fail with the ordered reason, the others are stored; once."""
    topic_id = emulator.create_topic()
    emulator.fault("entry_error", indices=[0, 2], reason="try again")
    answer = api.batch(topic_id, '{"n":0}', '{"n":1}', '{"n":2}').json()
    assert answer["is_partial_error"] is True
    assert answer["message_ids"]["0"] == {"result": "error", "error": "try again"}
    assert answer["message_ids"]["1"]["result"] == "success"
    assert answer["message_ids"]["2"]["result"] == "error"
    assert emulator.payloads(topic_id) == [{"n": 1}]
    assert api.batch(topic_id, '{"n":0}', '{"n":2}').json()["is_partial_error"] is False


@pytest.mark.parametrize("stored", [True, False])
def test_entries_of_a_batch_are_left_out(emulator: Emulator, api: Api, stored: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The ordered entries are not in the answer, whether they were stored or not."""
    topic_id = emulator.create_topic()
    emulator.fault("missing_entry", indices=[1], stored=stored)
    answer = api.batch(topic_id, '{"n":0}', '{"n":1}', '{"n":2}').json()
    assert sorted(answer["message_ids"]) == ["0", "2"]
    kept = [{"n": 0}, {"n": 1}, {"n": 2}] if stored else [{"n": 0}, {"n": 2}]
    assert emulator.payloads(topic_id) == kept


def test_a_fault_counts_matching_requests(emulator: Emulator, api: Api) -> None:
    """`after` matching requests pass, `times` are hit; other operations and topics never."""
    topic_id, other = emulator.create_topic(), emulator.create_topic()
    emulator.fault("status", operation="consume", topic_id=topic_id, after=1, times=2)
    assert api.consume(other).status_code == 200
    assert api.publish(topic_id, "{}").status_code == 200
    assert [api.consume(topic_id).status_code for _ in range(4)] == [200, 500, 500, 200]


def test_faults_queue_up(emulator: Emulator, api: Api) -> None:
    """Faults come in the order in which they were ordered, one a request, until cleared."""
    topic_id = emulator.create_topic()
    emulator.fault("status", status=502)
    emulator.fault("status", status=503, after=2)
    emulator.fault("status", status=504, times=-1)
    assert [api.consume(topic_id).status_code for _ in range(5)] == [502, 504, 503, 504, 504]
    emulator.clear_faults()
    assert api.consume(topic_id).status_code == 200
