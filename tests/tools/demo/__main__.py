"""`make demo`: load a file into a topic, and the topic into PostgreSQL, and count every step.

Exits with 1 if a number is not the expected one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import requests

from tests.tools.demo import orders
from tests.tools.demo.interrupts import exit_on_signals
from tests.tools.demo.project import MeltanoFailedError, Project
from tests.tools.demo.report import Report
from tests.tools.demo.services import ROOT, TOPIC_ID, Services, services

MORE = 7
PIPELINE = ("tap-workato-streams", "target-postgres")
LATEST = """
SELECT message_id, time, payload->>'order_id', payload->'customer'->>'name', payload->>'total'
FROM event_streams.orders ORDER BY payload->>'order_id' DESC LIMIT 5
"""


def main() -> int:
    """Run the demo, and return its exit code."""
    exit_on_signals()
    began = time.monotonic()
    report = Report()
    with services() as running:
        try:
            _demo(running, Project(ROOT, running.variables | running.temporary_state), report)
        except MeltanoFailedError as exc:
            print(exc, file=sys.stderr)
            return 1
    verdict = (
        "Some numbers are not as expected." if report.failed else "All numbers are as expected."
    )
    report.step(f"{verdict} {time.monotonic() - began:.0f} seconds.")
    return int(report.failed)


def _demo(running: Services, project: Project, report: Report) -> None:
    emulator, warehouse = running.emulator, running.warehouse
    report.step("1. The emulator, an embedded PostgreSQL, and meltano install")
    report.say(f"Event Streams at {emulator.url}")
    report.say(str(warehouse.query("SELECT version()")[0][0]).split(",", maxsplit=1)[0])
    project.meltano("install")

    report.step("2. meltano run tap-jsonl target-workato-streams")
    rows = _lines(orders.FILE.read_text(encoding="utf-8").splitlines())
    report.count(f"rows in {orders.FILE.name}", len(rows), orders.ROWS)
    project.meltano("run", "tap-jsonl", "target-workato-streams")
    report.count("messages in the topic", len(emulator.messages(TOPIC_ID)), orders.ROWS)
    report.count("identical to a row of the file", _alike(_payloads(running), rows), orders.ROWS)
    report.requests(emulator.requests(), {"batch": 11})

    emulator.clear_requests()
    report.step("   the same command again")
    project.meltano("run", "tap-jsonl", "target-workato-streams")
    report.count("messages in the topic", len(emulator.messages(TOPIC_ID)), orders.ROWS)
    report.requests(emulator.requests(), {"batch": 0})

    pages = 21
    for title, news, calls in (
        ("3. meltano run tap-workato-streams target-postgres", orders.ROWS, pages + 1),
        ("   the same command again", 0, 1),
        (f"   and again, after {MORE} more messages", MORE, 2),
    ):
        if news == MORE:
            _publish(running, orders.orders(first=orders.ROWS + 1, count=MORE))
        before = _rows(running)
        emulator.clear_requests()
        report.step(title)
        project.meltano("run", *PIPELINE)
        report.count("new rows in the database", _rows(running) - before, news)
        report.requests(emulator.requests(), {"consume": calls})

    report.step("4. psql -c 'SELECT ... FROM event_streams.orders'")
    for row in warehouse.query(LATEST):
        report.say("  ".join(map(str, row)))
    stored = _lines(
        text for (text,) in warehouse.query("SELECT payload::text FROM event_streams.orders")
    )
    published = _payloads(running)
    report.count("rows", len(stored), orders.ROWS + MORE)
    report.count("identical to a message", _alike(stored, published), orders.ROWS + MORE)
    report.count(
        "sum of their totals",
        sum((row["total"] for row in stored), Decimal(0)),
        sum((payload["total"] for payload in published), Decimal(0)),
    )

    report.step("   meltano state get dev:tap-workato-streams-to-target-postgres")
    state = project.meltano("state", "get", "dev:{}-to-{}".format(*PIPELINE))
    bookmark = json.loads(state)["singer_state"]["bookmarks"]["orders"]
    report.say(json.dumps({name: bookmark[name] for name in ("message_time", "topic_id")}))
    report.count(
        "bookmark", bookmark["replication_key_value"], emulator.messages(TOPIC_ID)[-1].message_id
    )


def _publish(running: Services, more: Iterable[dict[str, Any]]) -> None:
    """Publish orders through the API, as any other program would."""
    response = requests.post(
        f"{running.emulator.url}/api/v1/batch/topics/{TOPIC_ID}/publish",
        data=f'{{"payloads": [{", ".join(map(orders.to_json, more))}]}}'.encode(),
        headers={"Authorization": f"Bearer {running.emulator.token}"},
        timeout=30,
    )
    response.raise_for_status()


def _rows(running: Services) -> int:
    """Count the rows of the table; 0 if it does not exist yet."""
    [(table,)] = running.warehouse.query("SELECT to_regclass('event_streams.orders')::text")
    if table is None:
        return 0
    [(rows,)] = running.warehouse.query("SELECT count(*) FROM event_streams.orders")
    return int(rows)


def _payloads(running: Services) -> list[dict[str, Any]]:
    return _lines(message.payload for message in running.emulator.messages(TOPIC_ID))


def _lines(lines: Iterable[str | bytes]) -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in lines]


def _alike(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> int:
    """Count the items of `some` that are also in `others`, digit for digit."""
    by_id = {order["order_id"]: order for order in others}
    return sum(order == by_id.get(order["order_id"]) for order in some)


if __name__ == "__main__":
    sys.exit(main())
