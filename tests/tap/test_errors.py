"""What goes wrong with the service is told in one line, without secrets or payloads."""

from __future__ import annotations

import json

import pytest
import requests
from tap_workato_streams.event_streams.errors import (
    EventStreamsError,
    RequestRejected,
    ServiceError,
    Unavailable,
    check,
    unexpected,
    unreachable,
)
from tap_workato_streams.event_streams.hosts import Host

WHAT = "orders (topic 11)"
SECRET = "very-secret"
HOST = Host("https://host", SECRET)
DEVELOPER_HOST = Host("https://host", SECRET, api="developer_api")
DATE = "Tue, 24 Nov 2026 12:00:00 GMT"

STATUSES: list[tuple[int, type[ServiceError], str]] = [
    (301, RequestRejected, "check api_url: redirects are not followed"),
    (302, RequestRejected, "check api_url: redirects are not followed"),
    (307, RequestRejected, "check api_url: redirects are not followed"),
    (400, RequestRejected, "check the settings"),
    (401, RequestRejected, "check api_token and data_center"),
    (403, RequestRejected, "give the API client of api_token access to this topic"),
    (404, RequestRejected, "check the topic id, data_center and api_url"),
    (405, RequestRejected, "check the settings"),
    (408, Unavailable, "try again later"),
    (413, RequestRejected, "check the settings"),
    (422, RequestRejected, "check the settings"),
    (425, Unavailable, "try again later"),
    (429, Unavailable, "raise the quota of the workspace, or set max_requests_per_minute below it"),
    (500, Unavailable, "try again later"),
    (502, Unavailable, "try again later"),
    (503, Unavailable, "try again later"),
    (504, Unavailable, "try again later"),
    (599, Unavailable, "try again later"),
]
BODIES: list[tuple[bytes, str]] = [
    (b'{"message": "No such topic", "code": "not_found"}', "No such topic"),
    (b'{"error": "No such topic"}', "No such topic"),
    (b'{"message": null, "error": ""}', "Not Found"),
    (b'{"message": ["a", "b"]}', "['a', 'b']"),
    (b'{"code": 7}', "Not Found"),
    (b"[]", "Not Found"),
    (b'"text"', "Not Found"),
    (b"", "Not Found"),
    (b"<html><body>404</body></html>", "Not Found"),
    (b"\xff\xfe", "Not Found"),
    (b"[" * 100_000, "Not Found"),
    (b'{"message": " No\\n  such\\ttopic\\u2028!\\r\\n"}', "No such topic !"),
    (b'{"message": "token very-secret is not valid: very-secret"}', "token *** is not valid: ***"),
    (json.dumps({"message": "x" * 1000}).encode(), "x" * 300),
]
RETRY_AFTER: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"Retry-After": "7"}, 7.0),
    ({"Retry-After": " 0 "}, 0.0),
    ({"Retry-After": "1.5"}, 1.5),
    ({"Retry-After": "Tue, 24 Nov 2026 12:01:30 GMT", "Date": DATE}, 90.0),
    ({"Retry-After": "Tue, 24 Nov 2026 11:59:00 GMT", "Date": DATE}, 0.0),
    ({"Retry-After": "Tue, 24 Nov 2026 12:01:30 -0000", "Date": DATE}, 90.0),
    ({"Retry-After": "Tue, 24 Nov 2026 12:01:30", "Date": DATE}, 90.0),
    ({"Retry-After": "Tue, 24 Nov 2026 14:01:30 +0200", "Date": DATE}, 90.0),
    ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT", "Date": "no date"}, 0.0),
    ({"Retry-After": "-5"}, None),
    ({"Retry-After": "nan"}, None),
    ({"Retry-After": "inf"}, None),
    ({"Retry-After": "soon"}, None),
    ({"Retry-After": f"Tue, 24 Nov 2026 12:01:30 -{'9' * 20}"}, None),
    ({"Retry-After": ""}, None),
]


def answer(
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    reason: str = "Not Found",
) -> requests.Response:
    """An answer as `requests` hands it over, its body read."""
    response = requests.Response()
    response.status_code = status
    response._content = body  # noqa: SLF001 - as reading it does
    response.headers.update(headers or {})
    response.reason = reason
    return response


def error_of(response: requests.Response, host: Host = HOST) -> ServiceError:
    with pytest.raises(ServiceError) as raised:
        check(response, WHAT, host)
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_an_answer_of_2xx_passes(status: int) -> None:
    """Whatever its body."""
    check(answer(status, b"?"), WHAT, HOST)


@pytest.mark.parametrize(("status", "kind", "advice"), STATUSES)
def test_each_other_status_is_an_error_that_says_what_to_do(
    status: int, kind: type[ServiceError], advice: str
) -> None:
    """Worth a retry or not; its line names what was asked, the status, the words, the advice."""
    error = error_of(answer(status, b'{"message": "The words"}'))

    assert type(error) is kind
    assert str(error) == f"{WHAT}: HTTP {status} (The words); {advice}"
    assert (error.status, error.reason) == (status, "The words")


@pytest.mark.parametrize(("body", "reason"), BODIES, ids=[str(body[:40]) for body, _ in BODIES])
def test_the_services_own_words_are_one_short_line_without_secrets(
    body: bytes, reason: str
) -> None:
    """Of a JSON error its message, else the name of the status: never a page or a payload."""
    error = error_of(answer(404, body))

    assert error.reason == reason
    assert f"({reason})" in str(error)
    assert len(str(error).splitlines()) == 1
    assert SECRET not in str(error)


def test_an_answer_without_words_says_so() -> None:
    """As gateways send it that leave the status without a name."""
    assert error_of(answer(500, reason="")).reason == "no reason given"


@pytest.mark.parametrize("status", [401, 403])
def test_the_setting_that_holds_the_token_is_named(status: int) -> None:
    """The Developer API has a token of its own."""
    error = error_of(answer(status), DEVELOPER_HOST)

    assert "developer_api_token" in str(error)


@pytest.mark.parametrize(("headers", "secs"), RETRY_AFTER, ids=str)
def test_the_time_to_wait_is_read_from_seconds_or_a_date(
    headers: dict[str, str], secs: float | None
) -> None:
    """By the service's own clock; what cannot be read counts as not sent."""
    assert error_of(answer(429, headers=headers)).retry_after == secs


@pytest.mark.parametrize(
    "raised",
    [
        requests.ConnectionError("refused"),
        requests.ConnectTimeout("slow"),
        requests.ReadTimeout("slow"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.ContentDecodingError("not gzip"),
        requests.exceptions.ProxyError("no proxy"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_no_answer_or_half_of_one_is_worth_a_retry(raised: requests.RequestException) -> None:
    """Its line says what was asked and what happened."""
    error = unreachable(raised, WHAT, HOST)

    assert type(error) is Unavailable
    assert str(error) == (
        f"{WHAT}: no complete response ({type(raised).__name__}: {raised}); "
        "check the network and api_url"
    )
    assert (error.status, error.retry_after) == (None, None)


def test_the_deepest_cause_is_the_one_that_is_told() -> None:
    """Not the layers of libraries above it, whose texts are long and nested."""
    raised = requests.ConnectionError("Max retries exceeded with ...")
    raised.__context__ = OSError("Connection aborted")
    raised.__context__.__cause__ = ConnectionResetError(104, "Connection reset\nby peer")

    error = unreachable(raised, WHAT, HOST)

    assert error.reason == "ConnectionResetError: [Errno 104] Connection reset by peer"


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    """No retry mends it, and it is never accepted."""
    error = unreachable(requests.exceptions.SSLError("self-signed"), WHAT, HOST)

    assert type(error) is RequestRejected
    assert str(error) == f"{WHAT}: no secure connection (SSLError: self-signed); check api_url"


def test_an_unreadable_answer_is_told_by_its_size_and_type() -> None:
    """Never by its content, which may be a payload; a gateway may have sent it."""
    error = unexpected(answer(200, b"<html>", {"Content-Type": "text/html"}), WHAT, HOST)

    assert type(error) is Unavailable
    assert str(error) == (f"{WHAT}: unexpected response (6 bytes of text/html); check api_url")
    assert "no content type" in str(unexpected(answer(200), WHAT, HOST))


def test_all_errors_have_one_base() -> None:
    """A caller can catch whatever this connector tells a user."""
    assert issubclass(RequestRejected, EventStreamsError)
    assert issubclass(Unavailable, EventStreamsError)
