"""Fault injection: each fault affects the requests that it is meant for, and no others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.running import eventually

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api


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
    """The message is stored, and then the connection is reset."""
    topic_id = emulator.create_topic()
    emulator.fault("reset_after")
    with pytest.raises(requests.ConnectionError, match="reset"):
        api.publish(topic_id, "{}")
    assert len(emulator.messages(topic_id)) == 1
    assert statuses(emulator) == [None]


def test_a_body_is_cut_short(emulator: Emulator, api: Api) -> None:
    """The body is shorter than Content-Length; the message is stored."""
    topic_id = emulator.create_topic()
    emulator.fault("cut")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        api.publish(topic_id, "{}")
    assert len(emulator.messages(topic_id)) == 1
    assert api.publish(topic_id, "{}").status_code == 200


def test_json_is_cut_short(emulator: Emulator, api: Api) -> None:
    """The HTTP body is complete, but contains only half of the JSON."""
    topic_id = emulator.create_topic()
    emulator.fault("cut_json")
    response = api.publish(topic_id, "{}")
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(response.content)
    assert len(emulator.messages(topic_id)) == 1


def test_the_body_can_be_replaced(emulator: Emulator, api: Api) -> None:
    """The response has status 200, but a web page or unexpected JSON as its body."""
    topic_id = emulator.create_topic()
    emulator.fault("html")
    response = api.publish(topic_id, "{}")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html")
    assert response.text.startswith("<!DOCTYPE html>")
    emulator.fault("garbage")
    assert api.publish(topic_id, "{}").json() == []
    emulator.fault("garbage", body={"messages": 7})
    assert api.publish(topic_id, "{}").json() == {"messages": 7}
    assert len(emulator.messages(topic_id)) == 3


def test_any_status_can_be_injected(emulator: Emulator, api: Api) -> None:
    """A status can have a body and headers, whether the message is stored or not."""
    topic_id = emulator.create_topic()
    emulator.fault("status")
    assert api.publish(topic_id, "{}").status_code == 500
    emulator.fault("status", status=503, body="busy", headers={"Retry-After": "3"})
    response = api.publish(topic_id, "{}")
    assert (response.status_code, response.text, response.headers["Retry-After"]) == (
        503,
        "busy",
        "3",
    )
    assert emulator.messages(topic_id) == []
    emulator.fault("status", status=504, body=b"", stored=True)
    response = api.publish(topic_id, "{}")
    assert (response.status_code, response.content) == (504, b"")
    assert len(emulator.messages(topic_id)) == 1


def test_a_stall_gives_no_response(emulator: Emulator, api: Api) -> None:
    """There is no response, and then the connection is closed; the message may be stored."""
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
    eventually(lambda: len(emulator.messages(topic_id)) == 1, "the message")


def test_one_request_is_late(emulator: Emulator, api: Api) -> None:
    """Injected latency delays a request, which is processed nevertheless."""
    topic_id = emulator.create_topic()
    emulator.fault("latency", secs=0.3)
    assert api.publish(topic_id, "{}").status_code == 200
    (request,) = emulator.requests()
    assert request.finished_at is not None
    assert request.finished_at - request.at >= 0.29


def test_a_redirect_can_be_injected(emulator: Emulator, api: Api) -> None:
    """The client is redirected, and nothing is stored."""
    topic_id = emulator.create_topic()
    emulator.fault("redirect", location="https://sign-in.invalid/")
    response = api.publish(topic_id, "{}")
    assert (response.status_code, response.headers["Location"]) == (302, "https://sign-in.invalid/")
    emulator.fault("redirect", status=307)
    assert api.publish(topic_id, "{}").status_code == 307
    assert emulator.messages(topic_id) == []


def test_entries_of_a_batch_fail_once(emulator: Emulator, api: Api) -> None:
    """The given entries of one batch fail with the given reason; the others are stored."""
    topic_id = emulator.create_topic()
    emulator.fault("entry_error", indices=[0, 2], reason="try again")
    response = api.batch(topic_id, '{"n":0}', '{"n":1}', '{"n":2}').json()
    assert response["is_partial_error"] is True
    assert response["message_ids"]["0"] == {"result": "error", "error": "try again"}
    assert response["message_ids"]["1"]["result"] == "success"
    assert response["message_ids"]["2"]["result"] == "error"
    assert emulator.payloads(topic_id) == [{"n": 1}]
    assert api.batch(topic_id, '{"n":0}', '{"n":2}').json()["is_partial_error"] is False


@pytest.mark.parametrize("stored", [True, False])
def test_entries_of_a_batch_are_left_out(emulator: Emulator, api: Api, stored: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The given entries are missing from the response, whether they are stored or not."""
    topic_id = emulator.create_topic()
    emulator.fault("missing_entry", indices=[1], stored=stored)
    response = api.batch(topic_id, '{"n":0}', '{"n":1}', '{"n":2}').json()
    assert sorted(response["message_ids"]) == ["0", "2"]
    kept = [{"n": 0}, {"n": 1}, {"n": 2}] if stored else [{"n": 0}, {"n": 2}]
    assert emulator.payloads(topic_id) == kept


def test_a_fault_counts_matching_requests(emulator: Emulator, api: Api) -> None:
    """`after` matching requests are skipped, the next `times` are affected, and no others."""
    topic_id, other = emulator.create_topic(), emulator.create_topic()
    emulator.fault("status", operation="consume", topic_id=topic_id, after=1, times=2)
    assert api.consume(other).status_code == 200
    assert api.publish(topic_id, "{}").status_code == 200
    assert [api.consume(topic_id).status_code for _ in range(4)] == [200, 500, 500, 200]


def test_faults_queue_up(emulator: Emulator, api: Api) -> None:
    """Faults apply in the order of injection, one per request, until they are cleared."""
    topic_id = emulator.create_topic()
    emulator.fault("status", status=502)
    emulator.fault("status", status=503, after=2)
    emulator.fault("status", status=504, times=-1)
    assert [api.consume(topic_id).status_code for _ in range(5)] == [502, 504, 503, 504, 504]
    emulator.clear_faults()
    assert api.consume(topic_id).status_code == 200
