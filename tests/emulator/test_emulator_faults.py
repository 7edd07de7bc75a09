"""Fault injection: each fault affects the requests that it is meant for, and no others."""

import json

import pytest
import requests

from tests.support.running import eventually


@pytest.mark.parametrize(
    ("kind", "error", "stored"),
    [("reset", "reset", 0), ("reset_after", "reset", 1), ("cut", "IncompleteRead", 1)],
)
def test_a_response_is_lost(emulator, api, topic, kind, error, stored):
    emulator.fault(kind)
    with pytest.raises(requests.RequestException, match=error):
        api.publish(topic)
    assert len(emulator.messages(topic)) == stored
    [request] = emulator.requests()
    assert request.status == (200 if kind == "cut" else None)
    assert api.publish(topic).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "body", "stored"),
    [
        ({"kind": "status"}, 500, '{"message":"Injected fault","code":500}', 0),
        ({"kind": "status", "status": 503, "body": "busy"}, 503, "busy", 0),
        ({"kind": "status", "status": 504, "body": b"", "stored": True}, 504, "", 1),
        ({"kind": "redirect"}, 302, "", 0),
        ({"kind": "redirect", "status": 307}, 307, "", 0),
        ({"kind": "garbage"}, 200, "[]", 1),
        ({"kind": "garbage", "body": {"messages": 7}}, 200, '{"messages":7}', 1),
        ({"kind": "html"}, 200, "<!DOCTYPE html>", 1),
        ({"kind": "cut_json"}, 200, '{"message', 1),
    ],
)
def test_a_response_is_replaced(emulator, api, topic, fault, status, body, stored):
    emulator.fault(**fault)
    response = api.publish(topic)
    assert response.status_code == status
    if fault["kind"] in {"html", "cut_json"}:
        assert response.text.startswith(body)
        with pytest.raises(json.JSONDecodeError):
            json.loads(response.content)
    else:
        assert response.text == body
    assert len(emulator.messages(topic)) == stored


def test_a_response_has_other_headers(emulator, api, topic):
    emulator.fault("status", headers={"Retry-After": "3"})
    emulator.fault("redirect", location="https://sign-in.invalid/")
    emulator.fault("html")
    emulator.fault("no_date")
    assert api.publish(topic).headers["Retry-After"] == "3"
    assert api.publish(topic).headers["Location"] == "https://sign-in.invalid/"
    assert api.publish(topic).headers["Content-Type"] == "text/html"
    undated = api.publish(topic)
    assert (undated.status_code, undated.headers.get("Date")) == (200, None)
    assert "Date" in api.publish(topic).headers


def test_a_stall_gives_no_response(emulator, api, topic):
    emulator.fault("stall", secs=0.3)
    with pytest.raises(requests.ConnectionError):
        api.publish(topic)
    assert emulator.messages(topic) == []
    [request] = emulator.requests()
    assert request.finished_at - request.at >= 0.29
    emulator.fault("stall", secs=60, stored=True)
    with pytest.raises(requests.ReadTimeout):
        api.publish(topic, timeout=0.2)
    eventually(lambda: len(emulator.messages(topic)) == 1, "the message")


@pytest.mark.parametrize("by", ["a setting", "a fault"])
def test_latency_delays_a_request(emulator, api, topic, by):
    if by == "a setting":
        emulator.configure(latency_secs=0.3)
    else:
        emulator.fault("latency", secs=0.3)
    assert api.publish(topic).status_code == 200
    [request] = emulator.requests()
    assert request.finished_at - request.at >= 0.29


def test_entries_of_a_batch_fail_once(emulator, api, topic):
    emulator.fault("entry_error", indices=[0, 2], reason="try again")
    response = api.batch(topic, '{"n":0}', '{"n":1}', '{"n":2}').json()
    assert response["is_partial_error"] is True
    assert response["message_ids"]["0"] == {"result": "error", "error": "try again"}
    assert response["message_ids"]["1"]["result"] == "success"
    assert response["message_ids"]["2"]["result"] == "error"
    assert emulator.payloads(topic) == [{"n": 1}]
    assert api.batch(topic, '{"n":0}', '{"n":2}').json()["is_partial_error"] is False


@pytest.mark.parametrize("stored", [True, False])
def test_entries_are_missing_from_the_response_to_a_batch(emulator, api, topic, stored):
    emulator.fault("missing_entry", indices=[1], stored=stored)
    response = api.batch(topic, '{"n":0}', '{"n":1}', '{"n":2}').json()
    assert sorted(response["message_ids"]) == ["0", "2"]
    kept = [{"n": 0}, {"n": 1}, {"n": 2}] if stored else [{"n": 0}, {"n": 2}]
    assert emulator.payloads(topic) == kept


def test_a_fault_counts_matching_requests(emulator, api, topic):
    """`after` matching requests are skipped, the next `times` are affected, and no others."""
    emulator.fault("status", operation="consume", topic_id=topic, after=1, times=2)
    assert api.consume(emulator.create_topic()).status_code == 200
    assert api.publish(topic).status_code == 200
    assert [api.consume(topic).status_code for _ in range(4)] == [200, 500, 500, 200]


def test_faults_queue_up(emulator, api, topic):
    emulator.fault("status", status=502)
    emulator.fault("status", status=503, after=2)
    emulator.fault("status", status=504, times=-1)
    assert [api.consume(topic).status_code for _ in range(5)] == [502, 504, 503, 504, 504]
    emulator.clear_faults()
    assert api.consume(topic).status_code == 200
