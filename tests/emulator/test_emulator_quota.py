"""Quotas: which requests count, and the content of a 429."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api


def test_the_quota_is_shared_and_rejected_requests_do_not_count(
    emulator: Emulator, api: Api
) -> None:
    """All public requests share the quota, which is available again after the window."""
    topic_id = emulator.create_topic()
    emulator.configure(quota_per_minute=3)
    statuses = [
        api.consume(topic_id).status_code,
        api.publish(topic_id, "{}").status_code,
        api.batch(topic_id, "{}").status_code,
    ]
    assert statuses == [200, 200, 200]
    for _ in range(5):
        response = api.consume(topic_id)
        assert response.status_code == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 60
    emulator.configure(quota_window_secs=0.2)
    time.sleep(0.3)
    assert [api.consume(topic_id).status_code for _ in range(3)] == [200, 200, 200]
    assert len(emulator.messages(topic_id)) == 2


def test_retry_after_has_three_forms(emulator: Emulator, api: Api) -> None:
    """`Retry-After` is in seconds, a date by the service's clock, or missing."""
    topic_id = emulator.create_topic()
    emulator.configure(quota_per_minute=0)
    assert api.consume(topic_id).headers["Retry-After"] == "60"
    emulator.configure(retry_after="date", clock_offset_secs=7200.0)
    headers = api.consume(topic_id).headers
    ahead = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
    assert ahead.total_seconds() in {59, 60, 61}
    emulator.configure(retry_after="none")
    assert "Retry-After" not in api.consume(topic_id).headers


def test_the_developer_api_has_its_own_quota(emulator: Emulator, api: Api) -> None:
    """The default is 60 requests per minute, separate from the public API's quota."""
    topic_id = emulator.create_topic()
    statuses = [api.developer("GET").status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]
    assert api.consume(topic_id).status_code == 200
    emulator.configure(developer_quota_per_minute=None)
    assert api.developer("GET").status_code == 200
