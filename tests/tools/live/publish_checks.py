"""Assumptions about publishing to a topic."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable

import requests

from tests.tools.live.api import Api
from tests.tools.live.finding import Finding

MAX_BYTES = 1_048_576
MOST_REQUESTS = 1_200
# `exactly_once` waits this long for messages that may have been published.
READABLE_SECS, POLL_SECS = 5.0, 0.5
NUMBERS = b'{"n":1,"data":"x","d":1.10,"i":123456789012345678901234567890,"e":1E5,"s":0.0000001}'


def bad_message_in_batch(api: Api) -> Finding:
    """One bad message fails either its entry or the whole batch; the target handles both."""
    response = api.batch([b'{"n":1}', b'{"n":"text"}', b'{"n":3}'])
    if response.status_code == 200:
        body = response.json()
        entry = body["message_ids"].get("1")
        good = body["message_ids"].get("0", {}).get("result")
        seen = f"is_partial_error {body['is_partial_error']}, entry {json.dumps(entry)}"
        same = good == "success" and (entry is None or entry.get("result") != "success")
    else:
        seen = f"HTTP {response.status_code} for the batch"
        same = 400 <= response.status_code < 500
    return Finding(
        "one bad message in a batch",
        "an entry whose result is not success, or a 4xx for the batch",
        seen,
        same,
    )


def bad_message(api: Api) -> Finding:
    """A bad message on its own gives a 4xx, so that bisecting a batch ends."""
    status = api.publish(b'{"n":"text"}').status_code
    return Finding("one bad message alone", "a 4xx", f"HTTP {status}", 400 <= status < 500)


def unknown_field(api: Api) -> Finding:
    """A payload may have fields that the topic's schema lacks."""
    status = api.publish(b'{"n":1,"not_in_schema":true}').status_code
    return Finding("field without a schema", "accepted", f"HTTP {status}", status == 200)


def order_in_batch(api: Api) -> Finding:
    """The messages of a batch are stored in the order of its entries."""
    mark = api.mark()
    response = api.batch([b'{"n":%d}' % number for number in range(100)])
    response.raise_for_status()
    messages = api.after(mark)
    numbers = [message["payload"]["n"] for message in messages]
    entries = response.json()["message_ids"]
    ids = [entries.get(str(index), {}).get("message_id") for index in range(100)]
    same = numbers == list(range(100)) and ids == [each["message_id"] for each in messages]
    return Finding(
        "order of a batch",
        "the order of its entries, with the ids of the response",
        f"{len(numbers)} messages, {'in' if numbers == sorted(numbers) else 'NOT in'} order",
        same,
    )


def readable(api: Api) -> Finding:
    """A message can be read soon after it was acknowledged; `exactly_once` waits for it."""
    mark = api.mark()
    published_at = time.monotonic()
    message_id = api.mark()

    def is_readable() -> bool:
        response = api.consume(after_message_id=mark)
        found = response.json()["messages"] if response.ok else []
        return [each["message_id"] for each in found] == [message_id]

    return _within(READABLE_SECS, published_at, "acknowledged message can be read", is_readable)


def order_of_reading(api: Api) -> Finding:
    """No message becomes readable behind one that is; `exactly_once` reads a topic only once."""
    mark = api.mark()
    payloads = [b'{"n":%d}' % number for number in range(100)]
    publisher = threading.Timer(POLL_SECS, api.batch, [payloads])
    publisher.start()
    numbers: list[int] = []
    pages = 0
    ends_at = time.monotonic() + 3 * READABLE_SECS
    while len(numbers) < len(payloads) and time.monotonic() < ends_at:
        # A long poll returns as soon as the first messages can be read.
        response = api.consume(after_message_id=mark, timeout_secs=int(READABLE_SECS))
        if not response.ok:
            # The mark cannot be read yet.
            time.sleep(POLL_SECS)
            continue
        for message in response.json()["messages"]:
            mark = message["message_id"]
            numbers.append(message["payload"]["n"])
        pages += 1
    publisher.join()
    return Finding(
        "batch that is becoming readable",
        "in topic order: none behind one that was read",
        f"{len(numbers)} of 100 messages in {pages} pages, "
        f"{'in' if numbers == sorted(numbers) else 'NOT in'} order",
        numbers == list(range(100)),
    )


def id_is_a_cursor(api: Api) -> Finding:
    """The id in an acknowledgement is a cursor; `exactly_once` keeps it in the state."""
    published_at = time.monotonic()
    message_id = api.mark()

    def is_cursor() -> bool:
        return api.consume(after_message_id=message_id).ok

    return _within(READABLE_SECS, published_at, "acknowledged id is a cursor", is_cursor)


def _within(secs: float, began: float, subject: str, is_so: Callable[[], bool]) -> Finding:
    """Wait until a condition holds, at most three times as long as is assumed."""
    while not (holds := is_so()) and time.monotonic() - began < 3 * secs:
        time.sleep(POLL_SECS)
    waited = time.monotonic() - began
    seen = f"after {waited:.1f} s" if holds else f"not after {waited:.0f} s"
    return Finding(subject, f"within {secs:.0f} s", seen, holds and waited <= secs)


def digits(api: Api) -> Finding:
    """Numbers keep their digits: 1.10 does not become 1.1, and a long integer not a float."""
    mark = api.mark()
    api.publish(NUMBERS).raise_for_status()
    text = api.consume(after_message_id=mark).text
    numbers = re.findall(r":\s*([-\d][\d.eE+-]*)[,}\s]", NUMBERS.decode())
    kept = [number for number in numbers if re.search(rf"[:\s]{re.escape(number)}[,}}\s]", text)]
    return Finding(
        "digits of numbers",
        "as published: " + ", ".join(numbers),
        "as published: " + (", ".join(kept) or "none"),
        kept == numbers,
    )


def size_limit(api: Api) -> Finding:
    """A body of 1 MiB is accepted, a larger one is rejected."""
    bodies = [
        b'{"n":1,"data":"' + b"x" * (size - 17) + b'"}' for size in (MAX_BYTES, MAX_BYTES + 1)
    ]
    at, over = (api.publish(body).status_code for body in bodies)
    return Finding(
        "size of a body",
        f"{MAX_BYTES:,} bytes accepted, one more rejected with a 4xx",
        f"HTTP {at}, then HTTP {over}",
        at == 200 and 400 <= over < 500,
    )


def timeout(api: Api) -> Finding:
    """A request whose response was not awaited may have been applied."""
    mark = api.mark()
    try:
        api.publish(b'{"n":1}', timeout=0.001)
        outcome = "responded within 1 ms"
    except requests.Timeout:
        outcome = "timed out"
    time.sleep(1)
    seen = f"{outcome}; {'applied' if api.after(mark) else 'not applied'}"
    return Finding("request that timed out", "may have been applied", seen, same=True)


def quota(api: Api) -> Finding:
    """Requests over the quota get a 429. This uses up the workspace's quota."""
    for number in range(MOST_REQUESTS):
        response = api.consume(batch_size=1)
        if response.status_code == 429:
            after = response.headers.get("Retry-After", "absent")
            seen = f"HTTP 429 after {number} requests, Retry-After {after}"
            return Finding("over the quota", "HTTP 429; Retry-After if sent", seen, same=True)
        if not response.ok:
            seen = f"HTTP {response.status_code} after {number} requests"
            return Finding("over the quota", "HTTP 429; Retry-After if sent", seen, same=False)
    seen = f"no limit within {MOST_REQUESTS} requests"
    return Finding("over the quota", "HTTP 429; Retry-After if sent", seen, same=True)


CHECKS = (
    bad_message_in_batch,
    bad_message,
    unknown_field,
    order_in_batch,
    readable,
    order_of_reading,
    id_is_a_cursor,
    digits,
    size_limit,
    timeout,
)
