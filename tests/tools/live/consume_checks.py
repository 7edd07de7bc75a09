"""Assumptions about reading a topic."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from tests.tools.live.api import Api
from tests.tools.live.finding import Finding

OTHER_MEANINGS = {401, 403, 408, 429}
POLL_SECS, ARRIVAL_SECS = 2, 0.5


def unknown_cursor(api: Api) -> Finding:
    """The status for a cursor that does not exist can be recognized by the tap."""
    status = api.consume(after_message_id="A00000000").status_code
    return Finding(
        "unknown after_message_id",
        "a 4xx other than 401, 403, 408 and 429",
        f"HTTP {status}",
        400 <= status < 500 and status not in OTHER_MEANINGS,
    )


def error_body(api: Api) -> Finding:
    """The reason of an error can be shown to the user."""
    response = api.consume(after_message_id="A00000000")
    kind = response.headers.get("Content-Type", "no content type")
    return Finding(
        "body of an error",
        'JSON {"message", "code"}, HTML, or nothing',
        f"{kind}: {response.text[:80]!r}",
        same=True,
    )


def wrong_token(api: Api) -> Finding:
    """A wrong token has its own status."""
    status = api.consume(token="not-a-token").status_code
    return Finding("wrong token", "HTTP 401", f"HTTP {status}", status == 401)


def page_sizes(api: Api) -> Finding:
    """Only an empty page means the end of the topic."""
    mark = api.mark()
    for _ in range(3):
        api.batch([b'{"n":%d}' % number for number in range(40)]).raise_for_status()
    sizes = [len(page) for page in api.pages(mark)]
    return Finding(
        "page before the end of a topic",
        "may be shorter than batch_size; never more than 50",
        f"120 messages in pages of {', '.join(map(str, sizes))}",
        sum(sizes) == 120 and max(sizes) <= 50,
    )


def since_time_boundary(api: Api) -> Finding:
    """A message whose time is exactly `since_time` is not returned again."""
    mark = api.mark()
    api.publish(b'{"n":1}').raise_for_status()
    [message] = api.after(mark)
    response = api.consume(since_time=message["time"])
    ids = [each["message_id"] for each in response.json().get("messages", [])]
    seen = "included" if message["message_id"] in ids else "left out"
    return Finding(
        "message at since_time", "left out: later messages only", seen, seen != "included"
    )


def future_since_time(api: Api) -> Finding:
    """A time in the future means now, so nothing is returned."""
    future = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat(timespec="seconds")
    response = api.consume(since_time=future)
    count = len(response.json().get("messages", [])) if response.ok else -1
    seen = f"HTTP {response.status_code}" + (f", {count} messages" if response.ok else "")
    return Finding("since_time in the future", "an empty page", seen, count == 0)


def long_poll_times_out(api: Api) -> Finding:
    """A long poll waits for its timeout, then returns an empty page."""
    mark = api.mark()
    began = time.monotonic()
    response = api.consume(after_message_id=mark, timeout_secs=POLL_SECS)
    secs = time.monotonic() - began
    empty = response.ok and response.json()["messages"] == []
    return Finding(
        "long poll without messages",
        f"an empty page after timeout_secs ({POLL_SECS} s)",
        f"HTTP {response.status_code} after {secs:.1f} s",
        empty and secs >= POLL_SECS - 0.5,
    )


def long_poll_returns(api: Api) -> Finding:
    """A long poll returns as soon as a message arrives."""
    mark = api.mark()
    arrival = threading.Timer(ARRIVAL_SECS, api.publish, [b'{"n":1}'])
    began = time.monotonic()
    arrival.start()
    response = api.consume(after_message_id=mark, timeout_secs=30)
    secs = time.monotonic() - began
    arrival.join()
    count = len(response.json().get("messages", [])) if response.ok else 0
    return Finding(
        "long poll with an arrival",
        "returns at once",
        f"{count} message after {secs - ARRIVAL_SECS:.1f} s",
        count == 1 and secs < 10,
    )


def date_header(api: Api) -> Finding:
    """Each response contains the time of the service's clock."""
    value = api.consume(batch_size=1).headers.get("Date")
    difference = abs(parsedate_to_datetime(value).timestamp() - time.time()) if value else 0.0
    seen = f"present, {difference:.0f} s from the clock here" if value else "absent"
    return Finding("Date header", "may be present; used if it is", seen, same=True)


CHECKS = (
    unknown_cursor,
    error_body,
    wrong_token,
    page_sizes,
    since_time_boundary,
    future_since_time,
    long_poll_times_out,
    long_poll_returns,
    date_header,
)
