"""No line at any level contains a payload, a key value or a token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.target.singer import raw_record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget

DEBUG = {"TARGET_WORKATO_STREAMS_LOGLEVEL": "DEBUG", "LOGLEVEL": "DEBUG"}
NOTE = 'Zoë\\said "no"'
SECRETS = {
    "key": "4711000815",
    "text": "confidential note",
    "escaped": json.dumps(NOTE)[1:-1],
    "unicode": NOTE,
    "nested": "31.41592",
}
RECORD = (
    b'{"id":4711000815,"note":"confidential note","more":[{"pi":31.41592},%b]}'
    % json.dumps(NOTE).encode()
)
SCHEMA = schema("orders", ("id",), id={"type": "integer"}, note={}, more={})
ECHO = " and ".join([RECORD.decode(), *SECRETS.values()])
RESPONSES: list[tuple[str, dict[str, Any]]] = [
    ("entry_error", {"indices": [0], "reason": ECHO}),
    ("status", {"status": 400, "body": json.dumps({"message": ECHO})}),
    ("status", {"status": 422, "body": json.dumps({"message": json.dumps(ECHO)})}),
    ("status", {"status": 403, "body": json.dumps({"error": ECHO})}),
    ("status", {"status": 500, "body": ECHO}),
    ("status", {"status": 200, "body": ECHO}),
]


@pytest.mark.parametrize(("kind", "options"), RESPONSES)
@pytest.mark.parametrize("on_rejected", ["fail", "dead_letter"])
def test_what_the_service_echoes_is_redacted(  # noqa: PLR0913, PLR0917 - a table
    emulator: Emulator,
    run_target: RunTarget,
    tmp_path: Path,
    kind: str,
    options: dict[str, Any],
    on_rejected: str,
) -> None:
    """Echoes may be JSON-escaped, also twice; the line and the stream identify the record."""
    emulator.fault(kind, times=-1, **options)
    done = run_target(
        SCHEMA,
        raw_record(RECORD),
        state("all"),
        env=DEBUG,
        max_retry_secs=0.3,
        on_rejected=on_rejected,
        dead_letter_path=str(tmp_path / "dead.jsonl"),
    )
    assert "orders" in done.stderr
    for name, secret in {**SECRETS, "token": emulator.token}.items():
        assert secret not in done.stderr, name


@pytest.mark.parametrize(
    "settings",
    [
        {"stream_maps": {"orders": {"id": "id", "computed": "int(note)"}}},
        {"stream_maps": {"orders": {"id": "id", "__filter__": "note > 1"}}},
        {"validate_records": True},
        {"flattening_enabled": True, "flattening_max_depth": 2},
        {"payload_field": "note"},
        {"message_key_field": "note"},
        {"max_batch_bytes": 64},
        {"add_record_metadata": True},
    ],
)
def test_what_happens_to_a_record_is_logged_without_its_content(
    emulator: Emulator, run_target: RunTarget, settings: dict[str, Any]
) -> None:
    """The traceback of a failure has no content either."""
    bad = SCHEMA.replace(b'"integer"', b'"boolean"') if "validate_records" in settings else SCHEMA
    done = run_target(bad, raw_record(RECORD), state("all"), env=DEBUG, **settings)
    for name, secret in {**SECRETS, "token": emulator.token}.items():
        assert secret not in done.stderr, name
