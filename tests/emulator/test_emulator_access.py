"""The emulator's tokens, paths, request log and control plane."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.running import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api

PUBLIC_PATHS = [
    "/api/v1/topics/{}/consume",
    "/api/v1/topics/{}/publish",
    "/api/v1/batch/topics/{}/publish",
    "/api/pubsub/topics/{}/consume",
    "/api/pubsub/topics/{}/publish",
]


@pytest.mark.parametrize("path", PUBLIC_PATHS)
def test_a_bad_token_is_rejected(emulator: Emulator, api: Api, path: str) -> None:
    """Without the public API's Bearer token, the response is a 401, and the quota is not used."""
    topic_id = emulator.create_topic()
    emulator.configure(quota_per_minute=1)
    for token in ("", "Bearer", "Bearer wrong", api.token, f"Bearer {api.developer_token}"):
        response = api.post(path.format(topic_id), "{}", headers={"Authorization": token})
        assert (response.status_code, response.json()["code"]) == (401, 401)
    assert api.consume(topic_id).status_code == 200


def test_the_developer_api_has_its_own_token(emulator: Emulator, api: Api) -> None:
    """The public API's token is not valid for the Developer API."""
    headers = {"Authorization": f"Bearer {emulator.token}"}
    assert api.developer("GET", headers=headers).status_code == 401
    assert api.developer("GET").status_code == 200


@pytest.mark.parametrize("topic", ["7", "orders", "-1", "1.0"])
@pytest.mark.parametrize("path", PUBLIC_PATHS)
def test_an_unknown_topic_is_not_found(api: Api, path: str, topic: str) -> None:
    """A topic that does not exist gives a 404 in the API's format."""
    response = api.post(path.format(topic), '{"payloads": [{}]}')
    assert response.status_code == 404
    assert response.json() == {"message": "Topic not found", "code": 404}


def test_the_legacy_paths_work_without_batch(emulator: Emulator, api: Api) -> None:
    """The legacy domain has the same topics, but no batch endpoint."""
    topic_id = emulator.create_topic()
    assert api.post(f"/api/pubsub/topics/{topic_id}/publish", '{"n": 1}').status_code == 200
    response = api.post(f"/api/pubsub/topics/{topic_id}/consume", "{}")
    assert response.json()["messages"] == api.page(topic_id)
    path = f"/api/pubsub/batch/topics/{topic_id}/publish"
    assert api.post(path, '{"payloads": [{}]}').status_code == 404


def test_other_methods_are_not_allowed(emulator: Emulator, api: Api) -> None:
    """A GET request to a POST endpoint gives a 405."""
    topic_id = emulator.create_topic()
    headers = {"Authorization": f"Bearer {api.token}"}
    url = f"{emulator.url}/api/v1/topics/{topic_id}/consume"
    assert api.session.get(url, headers=headers, timeout=30).status_code == 405


def test_the_log_contains_requests_and_their_status(emulator: Emulator, api: Api) -> None:
    """Each request is logged with operation, topic, headers, body and status."""
    topic_id = emulator.create_topic()
    began = time.time()
    api.consume(topic_id)
    api.publish(topic_id, b'{"a":"\xc3\xa9"}')
    api.batch(topic_id, "nope")
    api.developer("GET", "?page=1")
    api.post("/elsewhere", "{}")
    log = emulator.requests()
    asked = [(each.operation, each.topic_id, each.method, each.status) for each in log]
    assert asked == [
        ("consume", topic_id, "POST", 200),
        ("publish", topic_id, "POST", 200),
        ("batch", topic_id, "POST", 400),
        ("topics", None, "GET", 200),
        ("other", None, "POST", 404),
    ]
    assert log[1].body == b'{"a":"\xc3\xa9"}'
    assert log[0].headers["authorization"] == f"Bearer {emulator.token}"
    assert log[0].path == f"/api/v1/topics/{topic_id}/consume"
    assert log[3].path == "/api/event_streams/topics?page=1"
    for each in log:
        assert each.finished_at is not None
        assert began <= each.at <= each.finished_at <= time.time()


def test_the_log_can_be_filtered_and_cleared(emulator: Emulator, api: Api) -> None:
    """The log can be filtered by operation and topic, and cleared."""
    one, other = emulator.create_topic(), emulator.create_topic()
    api.consume(one)
    api.consume(other)
    api.publish(one, "{}")
    assert len(emulator.requests(operation="consume")) == 2
    assert len(emulator.requests(topic_id=one)) == 2
    assert len(emulator.requests(operation="consume", topic_id=one)) == 1
    emulator.clear_requests()
    assert emulator.requests() == []


def test_the_control_plane_is_not_affected(emulator: Emulator, api: Api) -> None:
    """Requests to the control plane are not logged, and get neither latency nor faults."""
    emulator.fault("reset", times=-1)
    emulator.configure(latency_secs=30.0)
    topic_id = emulator.create_topic()
    emulator.load(topic_id, [{}])
    assert len(emulator.messages(topic_id)) == 1
    assert emulator.requests() == []
    emulator.configure(latency_secs=0.0)
    with pytest.raises(requests.ConnectionError):
        api.consume(topic_id)


def test_latency_slows_each_request(emulator: Emulator, api: Api) -> None:
    """A request takes at least as long as the configured latency."""
    topic_id = emulator.create_topic()
    emulator.configure(latency_secs=0.3)
    api.consume(topic_id)
    (request,) = emulator.requests()
    assert request.finished_at is not None
    assert request.finished_at - request.at >= 0.29


def test_reset_clears_everything(emulator: Emulator, api: Api) -> None:
    """After a reset, no topics, messages, log entries, faults or settings are left."""
    topic_id = emulator.create_topic()
    emulator.load(topic_id, [{}])
    emulator.configure(quota_per_minute=0, clock_offset_secs=500_000.0)
    api.consume(topic_id)
    emulator.fault("status", times=-1)
    emulator.reset()
    assert emulator.requests() == []
    assert api.developer("GET").json() == {"count": 0, "data": []}
    assert emulator.create_topic() == topic_id
    assert api.page(topic_id) == []


def test_what_was_sent_before_a_reset_has_no_effect_after_it(emulator: Emulator, api: Api) -> None:
    """Neither in the latency of a fault nor in that of the service."""
    for settings, fault_secs in (({"latency_secs": 0.4}, 0.0), ({}, 0.4)):
        topic_id = emulator.create_topic(id=1)
        emulator.configure(**settings)
        emulator.fault("latency", secs=fault_secs)
        with pytest.raises(requests.ReadTimeout):
            api.post(f"/api/v1/topics/{topic_id}/publish", "{}", timeout=0.1)
        eventually(emulator.requests, "the request")
        emulator.reset()
        emulator.create_topic(id=1)
        emulator.fault("status")
        time.sleep(0.5)
        assert emulator.messages(topic_id) == []
        assert emulator.requests() == []
        assert api.publish(topic_id, "{}").status_code == 500
        emulator.reset()


def test_mistakes_of_a_test_are_reported(emulator: Emulator) -> None:
    """An unknown setting, fault, option or topic raises a ValueError in the test."""
    topic_id = emulator.create_topic()
    mistakes: list[Callable[[], object]] = [
        lambda: emulator.configure(latency=1),
        lambda: emulator.configure(rejection="all"),
        lambda: emulator.fault("explode"),
        lambda: emulator.fault("status", state=500),
        lambda: emulator.fault("reset", operation="eat"),
        lambda: emulator.create_topic(id=topic_id),
        lambda: emulator.load(99, [{}]),
        lambda: emulator.load(topic_id, [{}, {}], times=["2026-01-01T00:00:00Z"]),
        lambda: emulator.load(topic_id, [{}], times=["today"]),
        lambda: emulator.expire(topic_id, "A12y"),
    ]
    for mistake in mistakes:
        with pytest.raises(ValueError, match=r"\w"):
            mistake()
    assert emulator.messages(topic_id) == []
