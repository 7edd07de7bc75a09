"""The SDK's standard tests for taps, against the emulator."""

from typing import Any

import pytest
from singer_sdk.testing import get_tap_test_class
from tap_workato_streams.tap import TapWorkatoStreams
from workato_streams_emulator import Emulator

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}, "total": {"type": "number"}}}
CONFIG: dict[str, Any] = {
    "api_token": "emulator-token",
    "topics": [
        {"id": 1, "name": "orders", "schema": SCHEMA},
        {"id": 2, "name": "open", "start_date": "2020-01-01T00:00:00Z"},
    ],
}

StandardTests = get_tap_test_class(TapWorkatoStreams, config=CONFIG, parse_env_config=False)


@pytest.fixture(scope="class", autouse=True)
def _emulator_for_the_suite(emulator_process: Emulator) -> None:
    """The suite's config is made before the emulator starts, and read later."""
    emulator_process.reset()
    CONFIG["api_url"] = emulator_process.url
    for number in (1, 2):
        topic = emulator_process.create_topic(id=number)
        # More records than the 150 at which the suite stops reading a stream.
        emulator_process.load(topic, [{"id": n, "total": 1.5} for n in range(160)])


class TestTapWorkatoStreams(StandardTests):  # type: ignore[misc, valid-type]
    """The SDK's standard tests."""
