"""The SDK's own standard tests of a target, against the emulator."""

from typing import Any

import pytest
from singer_sdk.testing import get_target_test_class
from singer_sdk.testing.suites import SingerTestSuite, target_tests
from singer_sdk.testing.target_tests import TargetInvalidSchemaTest, TargetRecordMissingKeyProperty
from target_workato_streams.target import TargetWorkatoStreams
from workato_streams_emulator import Emulator

# Left out of the suite: a record without its key property is published, because the schema of the
# topic is what counts. A schema without properties is an open one.
LEFT_OUT = {TargetRecordMissingKeyProperty, TargetInvalidSchemaTest}
CONFIG: dict[str, Any] = {"api_token": "emulator-token"}

StandardTests = get_target_test_class(
    TargetWorkatoStreams,
    config=CONFIG,
    custom_suites=[SingerTestSuite("target", [t for t in target_tests.tests if t not in LEFT_OUT])],
    include_target_tests=False,
    parse_env_config=False,
)


@pytest.fixture(autouse=True)
def _emulator_for_the_suite(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's configuration is made before there is an emulator; signals stay pytest's."""
    monkeypatch.setattr(TargetWorkatoStreams, "_setup_signal_handlers", lambda _self: None)
    topic = emulator.create_topic("all")
    CONFIG.update(api_url=emulator.url, topics={"*": topic})


class TestTargetWorkatoStreams(StandardTests):  # type: ignore[misc, valid-type]
    """The standard tests of the SDK."""
