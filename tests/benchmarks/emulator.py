"""How many consume pages a second the emulator serves: `python -m tests.benchmarks.emulator`.

It must not be the bottleneck of what is measured against it. So the client is the leanest there
is: one kept connection of `http.client`, following `after_message_id`, cutting the last id out of
the page without decoding it.
"""

from __future__ import annotations

import statistics
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.emulator.control import Emulator

MESSAGES = 100_000
MESSAGE_BYTES = 500
RUNS = 5
WANTED_PAGES_PER_SEC = 1_500


def payloads() -> list[bytes]:
    """Payloads of exactly `MESSAGE_BYTES` bytes, no two alike."""
    heads = (b'{"order":%d,"note":"' % number for number in range(MESSAGES))
    return [head.ljust(MESSAGE_BYTES - 2, b"x") + b'"}' for head in heads]


def read_topic(emulator: Emulator, topic_id: int) -> tuple[int, float]:
    """Read a topic from its start to the empty page; return the pages and the seconds."""
    connection = HTTPConnection(urlsplit(emulator.url).netloc)
    path = f"/api/v1/topics/{topic_id}/consume"
    headers = {"Authorization": f"Bearer {emulator.token}", "Content-Type": "application/json"}
    body, pages, began = b"{}", 0, time.perf_counter()
    try:
        while True:
            connection.request("POST", path, body, headers)
            page = connection.getresponse().read()
            start = page.rfind(b'{"message_id":"')
            if start < 0:
                return pages, time.perf_counter() - began
            pages += 1
            body = b'{"after_message_id":"%b"}' % page[start + 15 : page.index(b'"', start + 15)]
    finally:
        connection.close()


def main() -> None:
    """Measure, and print what came out."""
    with Emulator.start() as emulator:
        topic_id = emulator.create_topic()
        emulator.load(topic_id, payloads())
        speeds = []
        for run in range(1, RUNS + 1):
            pages, secs = read_topic(emulator, topic_id)
            speeds.append(pages / secs)
            print(f"run {run}: {pages:,} pages of 50 messages in {secs:.2f} s")  # noqa: T201
    median = statistics.median(speeds)
    print(f"median: {median:,.0f} pages a second (wanted: {WANTED_PAGES_PER_SEC:,})")  # noqa: T201


if __name__ == "__main__":
    main()
