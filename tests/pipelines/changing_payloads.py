"""Payloads whose fields and types change over time, and a check of the table of a loader."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from tap_workato_streams.records.json_values import is_json_text
from workato_streams_emulator import StoredMessage

from tests.tools.demo.warehouse import Warehouse


def sampled(number: int) -> dict[str, Any]:
    """Return a payload of the kind that discovery samples."""
    return {
        "id": number,
        "total": number + 0.25,
        "qty": number,
        "note": f"note {number}",
        "paid": number % 2 == 0,
        "placed_at": f"2024-01-31T01:02:{number % 60:02}.500+02:00",
        "ship_on": f"2024-02-{number % 29 + 1:02}",
        "customer": {"name": "Ann", "points": number},
        "tags": ["a", number],
        "cancelled_at": None,
    }


# Fields that appear only after the messages that discovery samples.
LATER: list[bytes | dict[str, Any]] = [
    {"id": 1, "late": 1, "cancelled_at": "2024-03-01"},
    {"id": 2, "late": None, "address": {"zip": 3000}},
    {"id": 3, "late": 2, "list": [1, "a", None, {"x": 1.5}]},
    {"qty": 1.5},
    {"total": 3},
]
# Values that a later run reads for columns that already exist.
OTHER_TYPES: list[bytes | dict[str, Any]] = [
    {"id": "x", "total": "1.5", "qty": True, "note": 5, "paid": "yes", "late": "text"},
    {"placed_at": "soon", "ship_on": "2024-02-30", "customer": "Ann", "tags": {"a": 1}},
    {"placed_at": "2024-01-31T01:02:03.123456789Z", "late": 1.5, "list": "none", "address": [1]},
    b'{"id":9223372036854775808,"total":1e400,"late":1.0,"qty":1E2}',
    b'{"note":"a\\u0000b","customer":{"name":"\\ud800"},"odd\\u0000name":1}',
    b'{"total":1e-99999,"late":-0,"tiny":1e-99999}',
    b'{"total":0.%b,"tiny":1e-400}' % (b"3" * 5000),
    b'{"total":123456789012345678901234567890.12345,"id":-9223372036854775808}',
    b'{"deep":%b%b}' % (b"[" * 100, b"]" * 100),
    b'{"deeper":%b%b}' % (b"[" * 2000, b"]" * 2000),
    {"message_id": "mine", "topic_id": "mine", "time": "noon", "_rescued": 1, "payload": {"x": 1}},
    {"x" * 64: 1, "100%": 2, "_sdc_batched_at": "mine", "": 3, 'a "name" with; all (of) it': 4},
    b"[1,2]",
    b"null",
    b"{}",
]


def check_table(warehouse: Warehouse, messages: list[StoredMessage]) -> None:
    """Check that each value of each message is in the database: in its column or in `_rescued`."""
    table = rows(warehouse)
    assert len(table) == len({message.message_id for message in messages})
    for message in messages:
        check_row(table[message.message_id], loads(message.payload))


def rows(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """Return the rows of the table by message id, as JSON, which keeps every digit."""
    found = warehouse.query("SELECT message_id, to_jsonb(o)::text FROM event_streams.orders o")
    return {message_id: loads(row) for message_id, row in found}


def check_row(row: Mapping[str, Any], payload: Any) -> None:  # noqa: ANN401 - any JSON value
    """Compare a row with its payload."""
    rescued = row["_rescued"] or {}
    for pointer, value in rescued.items():
        if isinstance(value, str) and is_json_text(value.encode()):
            rescued[pointer] = loads(value)
    whole = rescued.pop("", None)
    if isinstance(payload, str) and payload.startswith('{"deeper":'):
        assert payload == f'{{"deeper":{rescued["/deeper"]}}}'
        return
    if not isinstance(payload, dict):
        assert whole == payload
        return
    for name, value in payload.items():
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        column = f"payload_{name}" if name in {"message_id", "topic_id", "time"} else name
        if "\x00" in name:
            assert whole[name] == value
        elif pointer in rescued:
            assert rescued[pointer] == value
            assert row.get(column) is None or name.startswith("_")
        elif name == "placed_at":
            assert in_utc(row[column]) == in_utc(value)
        else:
            assert row[column] == value, name


def in_utc(text: str) -> datetime:
    """Parse a time; target-postgres stores it in UTC, without an offset."""
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def loads(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Decode JSON without losing digits; too deeply nested JSON is returned as text."""
    try:
        return json.loads(text, parse_float=Decimal)
    except RecursionError:
        return text.decode() if isinstance(text, bytes) else text
