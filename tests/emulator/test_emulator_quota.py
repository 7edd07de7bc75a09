"""Quotas: who shares them, what counts, and what a 429 says."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.emulator.conftest import Api
    from tests.emulator.control import Emulator


def test_the_quota_is_shared_and_refusals_do_not_count(emulator: Emulator, api: Api) -> None:
    """All public requests share the quota; past the window, as many are admitted again."""
    topic_id = emulator.create_topic()
    emulator.configure(quota_per_minute=3)
    statuses = [
        api.consume(topic_id).status_code,
        api.publish(topic_id, "{}").status_code,
        api.batch(topic_id, "{}").status_code,
    ]
    assert statuses == [200, 200, 200]
    for _ in range(5):
        answer = api.consume(topic_id)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    emulator.configure(quota_window_secs=0.2)
    time.sleep(0.3)
    assert [api.consume(topic_id).status_code for _ in range(3)] == [200, 200, 200]
    assert len(emulator.messages(topic_id)) == 2


def test_retry_after_has_three_forms(emulator: Emulator, api: Api) -> None:
    """A 429 names the seconds, the date by the service's clock, or nothing."""
    topic_id = emulator.create_topic()
    emulator.configure(quota_per_minute=0)
    assert api.consume(topic_id).headers["Retry-After"] == "60"
    emulator.configure(retry_after="date", clock_offset_secs=7200.0)
    headers = api.consume(topic_id).headers
    ahead = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
    assert ahead.total_seconds() in {59, 60, 61}
    emulator.configure(retry_after="none")
    assert "Retry-After" not in api.consume(topic_id).headers


def test_the_developer_api_has_a_quota_of_its_own(emulator: Emulator, api: Api) -> None:
    """60 requests a minute by default, apart from the public API's."""
    topic_id = emulator.create_topic()
    statuses = [api.developer("GET").status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]
    assert api.consume(topic_id).status_code == 200
    emulator.configure(developer_quota_per_minute=None)
    assert api.developer("GET").status_code == 200
