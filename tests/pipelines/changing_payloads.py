"""Payloads whose fields and types change over time, and a check of the tables of a loader."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from tap_workato_streams.records.json_values import is_json_text
from typing_extensions import Self
from workato_streams_emulator import StoredMessage

from tests.tools.demo.warehouse import Warehouse

Payload = dict[str, Any]


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
    {
        "x" * 64: 1,
        "100%": 2,
        "_sdc_batched_at": "mine",
        "": 3,
        "xmin": 5,
        'a "name" with; all (of) it': 4,
    },
    b"[1,2]",
    b"null",
    b"{}",
]


def contact(week: int, n: int) -> Payload:
    """Return a contact from an application in PHP, which writes an empty map as `[]`."""
    address = {"city": "Bern", "zip": 3000 + n} if n % 3 else []
    phone = f"+41 {n}" if n % 7 else 41_000_000 + n
    found: Payload = {
        "contact_id": n,
        "email": f"{n}@example.com",
        "phone": phone,
        "address": address,
    }
    if week > 1:
        found |= {
            "consent": "yes" if n % 11 == 0 else n % 2 == 0,
            "score": n / 4 if week > 3 else n,
        }
    return found


def order(week: int, n: int) -> Payload:
    """Return an order whose totals are whole at first, and whose ids come from two systems."""
    total = n + 0.25 if week and n % 2 else n
    found: Payload = {"order_id": f"A-{n}" if n % 5 == 0 else n, "total": total, "coupon": None}
    found["placed_at"] = f"2024-01-{week + 1:02}T01:02:{n % 60:02}Z"
    if week > 2:
        found |= {"coupon": f"C{n}" if n % 4 else n, "lines": [{"sku": n, "price": 1.1}]}
    return found


def device(week: int, n: int) -> Payload:
    """Return a reading; a sensor that fails sends a text instead of a number."""
    found: Payload = {
        "device": n % 9,
        "celsius": "n/a" if n % 13 == 0 else n / 10,
        "uptime": 2**53 + n,
    }
    return {**found, "firmware": 1.5 if week > 1 and n % 2 else "1.5-rc", "TAGS": [], "error": None}


def audit(week: int, n: int) -> Payload:
    """Return an entry of a log, whose details have the form of what they describe."""
    details = [{"field": "x", "to": n}, ["x", n], f"text {n}", n, n % 2 == 0][n % (week + 1)]
    actor = "system" if n % 6 == 0 else {"id": n}
    return {"action": f"a{n % 4}", "details": details, "actor": actor, "ok": n % 3 == 0}


def webhook(week: int, n: int) -> Payload:
    """Return an event; its version changes names and types every second week."""
    version = week // 2 + 1
    event_id = n if version == 1 else f"evt_{n}"
    found: Payload = {
        "id": event_id,
        "version": version if version < 3 else "2024-05",
        "live": True,
    }
    return found | {f"data_v{version}": {"n": n}, "created": n if version < 3 else f"t{n}"}


FAMILIES = (contact, order, device, audit, webhook)


def check_table(
    warehouse: Warehouse, messages: list[StoredMessage], table: str = "orders"
) -> tuple[int, int]:
    """Check that each value of each message is in the database: in its column or in `_rescued`.

    Returns:
        The number of values, and of those that are only in `_rescued`, without nulls.
    """
    found = rows(warehouse, table)
    assert len(found) == len({message.message_id for message in messages})
    values = rescued = 0
    for message in messages:
        row, payload = found[message.message_id], loads(message.payload, Published)
        check_row(row, payload)
        fields = payload if isinstance(payload, dict) else {}
        values += sum(value is not None for value in fields.values())
        fields = row["_rescued"] or {}
        rescued += sum(v is not None and row.get(name[1:]) is None for name, v in fields.items())
    return values, rescued


def rows(warehouse: Warehouse, table: str = "orders") -> dict[str, dict[str, Any]]:
    """Return the rows of a table by message id, as JSON, which keeps every digit."""
    query = f"SELECT message_id, to_jsonb(o)::text FROM event_streams.{table} o"  # noqa: S608
    return {message_id: loads(row) for message_id, row in warehouse.query(query)}


class Published(Decimal):
    """A number that also has its JSON text, which a text column takes."""

    def __new__(cls, text: str) -> Self:
        """Create the number from its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


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
            # A full refresh may rescue what is in a column that it does not know yet.
            assert row.get(column) is None or name.startswith("_") or holds(row[column], value)
        elif name == "placed_at":
            assert in_utc(row[column]) == in_utc(value)
        else:
            assert holds(row[column], value), name


def holds(cell: object, value: object) -> bool:
    """Whether a column contains a value; a text column has the JSON text of numbers, booleans."""
    if isinstance(cell, str) and isinstance(value, bool | Published):
        return cell == (value.text if isinstance(value, Published) else json.dumps(value))
    return cell == value


def in_utc(text: str) -> datetime:
    """Parse a time; target-postgres stores it in UTC, without an offset."""
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def loads(text: str | bytes, number: type[Decimal] = Decimal) -> Any:  # noqa: ANN401 - any JSON value
    """Decode JSON without losing digits; too deeply nested JSON is returned as text."""
    try:
        return json.loads(text, parse_float=number, parse_int=number)
    except RecursionError:
        return text.decode() if isinstance(text, bytes) else text
