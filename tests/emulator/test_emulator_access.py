"""The emulator's tokens, paths, quotas and resets."""

import time
from email.utils import parsedate_to_datetime
from functools import partial

import pytest
import requests

from tests.support.running import eventually

PUBLIC_PATHS = [
    "/api/v1/topics/{}/consume",
    "/api/v1/topics/{}/publish",
    "/api/v1/batch/topics/{}/publish",
    "/api/pubsub/topics/{}/consume",
    "/api/pubsub/topics/{}/publish",
]


@pytest.mark.parametrize("path", PUBLIC_PATHS)
def test_a_bad_token_is_rejected_and_does_not_use_the_quota(emulator, api, topic, path):
    emulator.configure(quota_per_minute=1)
    wrong = ("", "Bearer", "Bearer wrong", emulator.token, f"Bearer {emulator.developer_token}")
    for token in wrong:
        response = api.post(path.format(topic), headers={"Authorization": token})
        assert (response.status_code, response.json()["code"]) == (401, 401)
    assert api.consume(topic).status_code == 200


def test_the_developer_api_has_its_own_token(api):
    assert api.request("GET", "/api/event_streams/topics").status_code == 401
    assert api.developer("GET").status_code == 200


@pytest.mark.parametrize("path", PUBLIC_PATHS)
def test_an_unknown_topic_is_not_found(api, path):
    for topic in ("7", "orders", "-1", "1.0"):
        response = api.post(path.format(topic), '{"payloads": [{}]}')
        assert response.status_code == 404
        assert response.json() == {"message": "Topic not found", "code": 404}


def test_the_quota_is_shared_and_rejected_requests_do_not_count(emulator, api, topic):
    emulator.configure(quota_per_minute=3)
    for response in (api.consume(topic), api.publish(topic), api.batch(topic, "{}")):
        assert response.status_code == 200
    for _ in range(5):
        response = api.consume(topic)
        assert response.status_code == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    emulator.configure(quota_window_secs=0.2)
    time.sleep(0.3)
    assert [api.consume(topic).status_code for _ in range(3)] == [200, 200, 200]
    assert len(emulator.messages(topic)) == 2


def test_retry_after_has_three_forms(emulator, api, topic):
    emulator.configure(quota_per_minute=0)
    assert api.consume(topic).headers["Retry-After"] == "60"
    emulator.configure(retry_after="date", clock_offset_secs=7200.0)
    headers = api.consume(topic).headers
    ahead = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
    assert ahead.total_seconds() in {59, 60, 61}
    emulator.configure(retry_after="none")
    assert "Retry-After" not in api.consume(topic).headers


def test_the_developer_api_has_its_own_quota(emulator, api, topic):
    statuses = [api.developer("GET").status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]
    assert api.consume(topic).status_code == 200
    emulator.configure(developer_quota_per_minute=None)
    assert api.developer("GET").status_code == 200


def test_reset_clears_everything(emulator, api, topic):
    emulator.deviate(topic, readable_after_secs=600, publish_ids_are_positions=False)
    emulator.load(topic, [{}])
    emulator.configure(quota_per_minute=0, clock_offset_secs=500_000.0)
    api.consume(topic)
    emulator.fault("status", times=-1)
    emulator.reset()
    assert emulator.requests() == []
    assert api.developer("GET").json() == {"count": 0, "data": []}
    assert emulator.create_topic() == topic
    assert api.page(topic) == []
    message_id = api.publish(topic).json()["message_id"]
    assert api.page(topic)[0]["message_id"] == message_id


@pytest.mark.parametrize("of", ["the service", "a fault"])
def test_what_was_sent_before_a_reset_has_no_effect_after_it(emulator, api, topic, of):
    if of == "the service":
        emulator.configure(latency_secs=0.4)
    else:
        emulator.fault("latency", secs=0.4)
    with pytest.raises(requests.ReadTimeout):
        api.publish(topic, timeout=0.1)
    eventually(emulator.requests, "the request")
    emulator.reset()
    assert emulator.create_topic() == topic
    emulator.fault("status")
    time.sleep(0.5)
    assert emulator.messages(topic) == []
    assert emulator.requests() == []
    assert api.publish(topic).status_code == 500


def test_mistakes_of_a_test_are_reported(emulator, topic):
    mistakes = {
        "latency": partial(emulator.configure, latency=1),
        "all": partial(emulator.configure, rejection="all"),
        "explode": partial(emulator.fault, "explode"),
        "state": partial(emulator.fault, "status", state=500),
        "eat": partial(emulator.fault, "reset", operation="eat"),
        "repeat_evry": partial(emulator.deviate, topic, repeat_evry=2),
        "Topic not found": partial(emulator.deviate, topic + 1, repeat_every=2),
        "already": partial(emulator.create_topic, id=topic),
        "not found": partial(emulator.load, 99, [{}]),
        "shorter": partial(emulator.load, topic, [{}, {}], times=["2026-01-01T00:00:00Z"]),
        "today": partial(emulator.load, topic, [{}], times=["today"]),
        "no such message": partial(emulator.expire, topic, "A12y"),
    }
    for reason, mistake in mistakes.items():
        with pytest.raises(ValueError, match=reason):
            mistake()
    assert emulator.messages(topic) == []
