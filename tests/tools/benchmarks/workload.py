"""The messages of the benchmarks: orders of 500 bytes, numbered so that a lost one is noticed.

As a program, it writes a Singer stream: `python -m tests.tools.benchmarks.workload 1000000`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from workato_streams_emulator import Emulator

STREAM = "orders"
MESSAGE_BYTES = 500
HEAD = (
    b'{"order":%d,"customer":{"id":%d,"name":"Ada Okonkwo","email":"ada.%d@example.com"},'
    b'"placed_at":"2026-11-24T09:30:00.123+00:00","status":"paid","currency":"EUR",'
    b'"total":129.95,"tax":20.75,"gift":false,"coupon":null,"lines":['
    b'{"sku":"SKU-%06d","quantity":2,"price":49.95},{"sku":"SKU-%06d","quantity":1,"price":30.05}],'
    b'"ship_to":{"street":"12 Harbour Road","city":"Cork","postcode":"T12 X8PH","country":"IE"},'
    b'"tags":["web","first-order"],"note":"'
)
TAIL = b'"}'


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TEXT = {"type": "string"}
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
SCHEMA = _object(
    order=INTEGER,
    customer=_object(id=INTEGER, name=TEXT, email=TEXT),
    placed_at={"type": "string", "format": "date-time"},
    status=TEXT,
    currency=TEXT,
    total=NUMBER,
    tax=NUMBER,
    gift={"type": "boolean"},
    coupon={"type": ["string", "null"]},
    lines=_array(_object(sku=TEXT, quantity=INTEGER, price=NUMBER)),
    ship_to=_object(street=TEXT, city=TEXT, postcode=TEXT, country=TEXT),
    tags=_array(TEXT),
    note=TEXT,
)
ORDER = re.compile(rb'"order": ?(\d+)')


def payloads(end: int, first: int = 0) -> Iterator[bytes]:
    """Generate different orders, numbered from `first`, of exactly `MESSAGE_BYTES` bytes each."""
    for number in range(first, end):
        head = HEAD % (number, number % 977, number % 977, number % 7919, number % 6007)
        yield head.ljust(MESSAGE_BYTES - len(TAIL), b"x") + TAIL


def orders(text: bytes) -> list[int]:
    """Return the order numbers in the output of a tap or in a page of a topic."""
    return [int(number) for number in ORDER.findall(text)]


def singer_lines(end: int, first: int = 0) -> Iterator[bytes]:
    """Generate a Singer stream of orders, numbered from `first`: SCHEMA, RECORD lines, STATE."""
    schema = {"type": "SCHEMA", "stream": STREAM, "schema": SCHEMA, "key_properties": ["order"]}
    yield msgspec.json.encode(schema) + b"\n"
    for payload in payloads(end, first):
        yield b'{"type":"RECORD","stream":"%b","record":%b}\n' % (STREAM.encode(), payload)
    yield b'{"type":"STATE","value":{"orders":%d}}\n' % end


def write_singer_file(path: Path, count: int) -> Path:
    """Write a Singer stream of `count` orders to a file."""
    with path.open("wb") as file:
        file.writelines(singer_lines(count))
    return path


def pages(emulator: Emulator, topic_id: int) -> Iterator[bytes]:
    """Read a topic from its start to its end, without decoding the pages.

    Yields:
        The bodies of the responses, except for the empty page at the end.
    """
    connection = HTTPConnection(urlsplit(emulator.url).netloc)
    path = f"/api/v1/topics/{topic_id}/consume"
    headers = {"Authorization": f"Bearer {emulator.token}", "Content-Type": "application/json"}
    body = b"{}"
    try:
        while True:
            connection.request("POST", path, body, headers)
            page = connection.getresponse().read()
            start = page.rfind(b'{"message_id":"')
            if start < 0:
                return
            yield page
            body = b'{"after_message_id":"%b"}' % page[start + 15 : page.index(b'"', start + 15)]
    finally:
        connection.close()


def published(emulator: Emulator, topic_id: int) -> list[int]:
    """Return the numbers of all orders in a topic, in topic order."""
    return [number for page in pages(emulator, topic_id) for number in orders(page)]


def check(who: str, numbers: Iterable[int], count: int) -> None:
    """Check that each order arrived once, and in order.

    Raises:
        RuntimeError: An order is missing, duplicated or out of order.
    """
    found = list(numbers)
    if found != list(range(count)):
        raise RuntimeError(
            f"{who}: expected {count:,} orders in sequence, got {len(found):,}, "
            f"{len(set(found)):,} of them distinct"
        )


if __name__ == "__main__":
    sys.stdout.buffer.writelines(singer_lines(int(sys.argv[1])))
