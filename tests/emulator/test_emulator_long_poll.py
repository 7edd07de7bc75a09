"""Long polls end when a message arrives, and when their client disconnects."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from typing_extensions import override

from tests.support.running import eventually

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator, LoggedRequest

    from tests.emulator.conftest import Api

LONG_POLL_SECS = 30


def in_flight(emulator: Emulator) -> LoggedRequest:
    """Wait until a consume request is in progress."""
    found: list[LoggedRequest] = []

    def search() -> list[LoggedRequest]:
        found[:] = [r for r in emulator.requests(operation="consume") if r.finished_at is None]
        return found

    eventually(search, "a consume request")
    return found[0]


class Poll(threading.Thread):
    """A long poll in a separate thread."""

    def __init__(self, api: Api, topic_id: int, **request: str | int) -> None:
        super().__init__()
        self.api, self.topic_id, self.request = api, topic_id, request
        self.messages: list[dict[str, Any]] = []
        self.ended_at = 0.0

    @override
    def run(self) -> None:
        self.messages = self.api.page(self.topic_id, **self.request)
        self.ended_at = time.time()


def test_a_future_since_time_means_now(emulator: Emulator, api: Api) -> None:
    """A long poll with a future `since_time` returns messages that are published while it waits."""
    topic_id = emulator.create_topic()
    emulator.load(topic_id, [{"n": 0}])
    assert api.page(topic_id, since_time="2999-01-01T00:00:00Z") == []
    poll = Poll(api, topic_id, since_time="2999-01-01T00:00:00Z", timeout_secs=LONG_POLL_SECS)
    poll.start()
    in_flight(emulator)
    emulator.load(topic_id, [{"n": 7}])
    poll.join()
    assert [message["payload"] for message in poll.messages] == [{"n": 7}]


def test_a_long_poll_ends_when_a_message_arrives(emulator: Emulator, api: Api) -> None:
    """A message in the topic ends the long poll early; one in another topic does not."""
    topic_id, other = emulator.create_topic("one"), emulator.create_topic("other")
    poll = Poll(api, topic_id, timeout_secs=LONG_POLL_SECS)
    poll.start()
    waiting = in_flight(emulator)
    emulator.load(other, [{"n": 1}])
    assert in_flight(emulator) == waiting
    requests.post(
        f"{emulator.url}/api/v1/topics/{topic_id}/publish",
        headers={"Authorization": f"Bearer {emulator.token}"},
        data=b'{"n": 2}',
        timeout=LONG_POLL_SECS,
    )
    poll.join()
    assert [message["payload"] for message in poll.messages] == [{"n": 2}]
    assert poll.ended_at < waiting.at + LONG_POLL_SECS


def test_a_long_poll_times_out_with_an_empty_page(emulator: Emulator, api: Api) -> None:
    """A long poll without new messages waits for `timeout_secs`, then returns an empty page."""
    topic_id = emulator.create_topic()
    assert api.page(topic_id, timeout_secs=1) == []
    (request,) = emulator.requests()
    assert request.finished_at is not None
    assert request.finished_at - request.at >= 0.99


def test_a_long_poll_ends_when_its_client_disconnects(emulator: Emulator, api: Api) -> None:
    """The log shows the request of a client that disconnected without a response."""
    topic_id = emulator.create_topic()
    with pytest.raises(requests.ReadTimeout):
        api.post(f"/api/v1/topics/{topic_id}/consume", json={"timeout_secs": 60}, timeout=0.2)
    eventually(lambda: [r for r in emulator.requests() if r.finished_at], "the end of the poll")
    (request,) = emulator.requests()
    assert request.status is None
    assert request.finished_at is not None
