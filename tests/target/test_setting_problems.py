"""Bad settings are rejected before the first request, all at once, with an explanation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError
from target_workato_streams.target import TargetWorkatoStreams

from tests.executables import run
from tests.target.singer import orders, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget

NO_ROUTE = {"default_topic_id": None}
PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"api_token": None}, "api_token"),
    ({"api_token": ""}, "api_token"),
    ({"data_center": "mars"}, "data_center"),
    (
        {"api_url": "http://event-streams.workato.com"},
        "api_url: http would send the token",
    ),
    ({"api_url": "event-streams.workato.com"}, "api_url"),
    ({"topics": {"orders": "eleven"}}, "topics.orders"),
    ({"topics": ["orders"]}, "topics"),
    (NO_ROUTE, "topics: no stream has a topic"),
    ({"on_unmapped_stream": "ignore"}, "on_unmapped_stream"),
    ({"batch_size_rows": 101}, "batch_size_rows"),
    ({"batch_size_rows": 0}, "batch_size_rows"),
    ({"max_batch_bytes": 1_048_577}, "max_batch_bytes"),
    ({"max_batch_age_secs": -1}, "max_batch_age_secs"),
    ({"max_in_flight": 0}, "max_in_flight"),
    ({"max_in_flight": "many"}, "max_in_flight"),
    ({"on_rejected": "drop"}, "on_rejected"),
    ({"on_rejected": "dead_letter"}, "on_rejected: dead_letter requires dead_letter_path"),
    ({"dead_letter_path": "/no/such/folder/dead.jsonl"}, "dead_letter_path: its folder"),
    ({"dead_letter_path": "/tmp"}, "dead_letter_path: is a folder"),  # noqa: S108
    ({"dead_letter_path": "/dev/null"}, "dead_letter_path: is a device, pipe or socket"),
    ({"max_rejected": -1}, "max_rejected"),
    ({"create_topics": True}, "create_topics: requires developer_api_token"),
    ({"legacy_api": True, "data_center": "trial", "api_url": None}, "legacy_api: the trial"),
    ({"load_method": "upsert"}, "load_method: records can only be appended"),
    ({"max_requests_per_minute": 0}, "max_requests_per_minute"),
    ({"request_timeout_secs": 0}, "request_timeout_secs"),
]


@pytest.mark.parametrize(("settings", "words"), PROBLEMS)
def test_a_bad_setting_is_rejected_with_an_explanation(
    settings: dict[str, Any], words: str
) -> None:
    """One line names the setting, before anything else is done."""
    config = {"api_token": "token", "default_topic_id": 1, **settings}
    kept = {name: value for name, value in config.items() if value is not None}
    with pytest.raises(ConfigValidationError) as raised:
        TargetWorkatoStreams(config=kept)
    (line,) = raised.value.errors
    assert words in line


def test_all_problems_are_reported_at_once(emulator: Emulator, run_target: RunTarget) -> None:
    """The executable prints a line for each, no traceback, sends no request, and exits with 1."""
    done = run_target(
        api_token=7,
        default_topic_id=None,
        batch_size_rows=1000,
        on_rejected="dead_letter",
        max_in_flight="many",
        create_topics=False,
    )
    assert done.exit_code == 1
    *problems, last = done.error_lines
    assert len(problems) == 5
    assert "Config validation failed" in last
    assert "Traceback" not in done.stderr
    assert emulator.requests() == []


def test_an_unknown_setting_is_logged_with_the_closest_known_one(
    emulator: Emulator, topic: int, run_target: RunTarget
) -> None:
    """One line names it without its value, and the run continues."""
    outcome = run_target(schema(), *orders(2), batch_size_row="top-secret")
    assert outcome.exit_code == 0
    assert len(emulator.messages(topic)) == 2
    [logged] = [line for line in outcome.stderr.splitlines() if "WARNING" in line]
    assert logged.endswith(
        "batch_size_row: unknown setting, ignored; did you mean batch_size_rows?"
    )
    assert "top-secret" not in outcome.stderr


def test_settings_may_be_strings_from_the_environment(
    emulator: Emulator, topic: int, tmp_path: Path
) -> None:
    """Meltano passes numbers, booleans and objects as text, and unset ones as empty text."""
    prefix = "TARGET_WORKATO_STREAMS_"
    settings = {
        "API_TOKEN": emulator.token,
        "API_URL": emulator.url,
        "TOPICS": json.dumps({"orders": str(topic)}),
        "DEFAULT_TOPIC_ID": "",
        "BATCH_SIZE_ROWS": "10",
        "MAX_BATCH_AGE_SECS": "0.5",
        "LEGACY_API": "false",
        "VALIDATE_RECORDS": "false",
        "PAYLOAD_FIELD": "",
        "MAX_REJECTED": "",
        "ON_REJECTED": "dead_letter",
        "DEAD_LETTER_PATH": str(tmp_path / "dead.jsonl"),
        "STREAM_MAPS": "",
    }
    done = run(
        "target-workato-streams",
        "--config",
        "ENV",
        stdin=b"\n".join([schema(), *orders(25), state("all")]),
        env={prefix + name: value for name, value in settings.items()},
    )
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 25
    assert len(emulator.requests()) == 3


def test_about_lists_all_settings_and_capabilities() -> None:
    """`--about` names the settings of design.md and the capabilities."""
    done = run("target-workato-streams", "--about", "--format", "json")
    about = json.loads(done.stdout)
    names = set(about["settings"]["properties"])
    assert names >= {
        "api_token", "data_center", "api_url", "legacy_api", "max_requests_per_minute",
        "request_timeout_secs", "max_retry_secs", "developer_api_token", "developer_api_url",
        "topics", "default_topic_id", "on_unmapped_stream", "batch_size_rows", "max_batch_bytes",
        "max_batch_age_secs", "max_in_flight", "payload_field", "on_rejected", "dead_letter_path",
        "max_rejected", "message_key_field", "create_topics", "validate_records",
        "add_record_metadata", "stream_maps", "flattening_enabled", "batch_config",
    }  # fmt: skip
    assert about["settings"]["properties"]["validate_records"]["default"] is False
    assert set(about["capabilities"]) >= {"about", "stream-maps", "schema-flattening", "batch"}
