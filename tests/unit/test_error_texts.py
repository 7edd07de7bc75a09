"""The texts of errors, as far as they depend on the response or exception only."""

import http.client
import json
import ssl

import pytest
import requests
from tap_workato_streams.event_streams.errors import ServiceError, Unavailable, Unexpected
from tap_workato_streams.event_streams.http import (
    Host,
    Response,
    check,
    unreachable,
)
from tap_workato_streams.event_streams.rate_limiter import RateLimiter
from tap_workato_streams.event_streams.redaction import redact
from tap_workato_streams.event_streams.session import ApiSession

WHAT = "orders (topic 11)"
SECRET = "very-secret"
HOST = Host("https://host", SECRET)
DEVELOPER_HOST = Host("https://host", SECRET, api="developer_api")
DATE = "Tue, 24 Nov 2026 12:00:00 GMT"

BODIES: list[tuple[bytes, str]] = [
    (b'{"message": "No such topic", "code": "not_found"}', "No such topic"),
    (b'{"error": "No such topic"}', "No such topic"),
    (b'{"message": ["a", "b"]}', '["a", "b"]'),
    (b'{"message": null, "error": ""}', "Not Found"),
    (b"[]", "Not Found"),
    (b"<html><body>404</body></html>", "Not Found"),
    (b"[" * 100_000, "Not Found"),
    (b'{"message": " No\\n  such\\ttopic\\u2028!\\r\\n"}', "No such topic !"),
    (b'{"message": "token very-secret is not valid: very-secret"}', "token *** is not valid: ***"),
    (json.dumps({"message": "x" * 1000}).encode(), "x" * 300),
]
RETRY_AFTER: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"Retry-After": " 0 "}, 0.0),
    ({"Retry-After": "1.5"}, 1.5),
    ({"Retry-After": "Tue, 24 Nov 2026 12:01:30 GMT", "Date": DATE}, 90.0),
    ({"Retry-After": "Tue, 24 Nov 2026 11:59:00 GMT", "Date": DATE}, 0.0),
    ({"Retry-After": "Tue, 24 Nov 2026 12:01:30", "Date": DATE}, 90.0),
    ({"Retry-After": "Tue, 24 Nov 2026 14:01:30 +0200", "Date": DATE}, 90.0),
    ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT", "Date": "no date"}, 0.0),
    ({"Retry-After": "nan"}, None),
    ({"Retry-After": f"Tue, 24 Nov 2026 12:01:30 -{'9' * 20}"}, None),
    ({"Retry-After": ""}, None),
]


def error_of(status: int, body: bytes = b"", host: Host = HOST) -> ServiceError:
    with pytest.raises(ServiceError) as raised:
        check(Response(status, {}, body), WHAT, host)
    return raised.value


@pytest.mark.parametrize("status", [200, 299])
def test_a_2xx_response_is_accepted(status):
    check(Response(status, {}, b"?"), WHAT, HOST)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (408, ""),
        (425, ""),
        (429, "; raise the quota of the workspace, or set max_requests_per_minute below it"),
        (599, ""),
    ],
)
def test_a_status_that_is_retried_is_an_error_that_says_what_to_do(status, advice):
    error = error_of(status, b'{"message": "The words"}')
    assert type(error) is Unavailable
    assert str(error) == f"{WHAT}: HTTP {status} (The words){advice}"
    assert (error.status, error.reason) == (status, "The words")


@pytest.mark.parametrize(("body", "reason"), BODIES, ids=[str(body[:40]) for body, _ in BODIES])
def test_the_services_own_words_are_one_short_line_without_secrets(body, reason):
    """They are the message of a JSON error, or the name of the status, never a page or payload."""
    error = error_of(404, body)
    assert error.reason == reason
    assert str(error).startswith(f"{WHAT}: HTTP 404 ({reason}); ")


def test_a_status_without_a_name_says_so():
    assert error_of(599).reason == "no reason given"


@pytest.mark.parametrize("status", [401, 403])
def test_the_setting_that_holds_the_token_is_named(status):
    assert "developer_api_token" in str(error_of(status, host=DEVELOPER_HOST))


@pytest.mark.parametrize(("headers", "secs"), RETRY_AFTER, ids=str)
def test_the_time_to_wait_is_read_from_seconds_or_a_date(headers, secs):
    """The service's clock decides; what cannot be read counts as not sent."""
    assert Response(429, headers).retry_after == secs


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (None, "ConnectionError"),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "ConnectionResetError: Connection reset by peer",
        ),
        (
            http.client.RemoteDisconnected(SECRET),
            "RemoteDisconnected: connection closed without a response",
        ),
        (ValueError(SECRET), "ValueError"),
        (ssl.SSLError(1, SECRET), "SSLError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_deepest_cause_is_reported_without_text_from_the_response(cause, reason):
    """The libraries' layers above it have long and nested texts; a retry may help."""
    raised = requests.ConnectionError(SECRET)
    if cause:
        raised.__context__ = OSError(SECRET)
        raised.__context__.__cause__ = cause
    error = unreachable(raised, WHAT, HOST)
    assert type(error) is Unavailable
    assert str(error) == f"{WHAT}: no complete response ({reason}); check the network and api_url"
    assert (error.reason, error.status, error.retry_after) == (reason, None, None)


@pytest.mark.parametrize(
    ("headers", "named"),
    [({"Content-Type": f"text/{SECRET}"}, "other content"), ({}, "other content")],
)
def test_an_unexpected_response_is_described_by_its_size_and_type(headers, named):
    """Its content, which may be a payload, is not shown; a gateway may have sent it."""
    config = {"max_retry_secs": 0, "request_timeout_secs": 1}
    session = ApiSession(HOST, config, RateLimiter(), WHAT)
    error = session.unexpected(Response(200, headers, b"<html>"))
    assert type(error) is Unexpected
    assert str(error) == f"{WHAT}: unexpected response (6 bytes, {named}); check api_url"


PAYLOAD = {
    "id": 4711,
    "email": "jo@example.com",
    "note": 'line one\nsaid "hello" \\ ünïcode',
    "nested": [{"iban": "DE89370400440532013000"}],
    "initial": "X",
}


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("email jo@example.com is invalid", "email *** is invalid"),
        ("id 4711 exists, 47110 does not", "id *** exists, 47110 does not"),
        (json.dumps({"got": PAYLOAD["note"]}), '{"got": "***"}'),
        (json.dumps(json.dumps({"got": PAYLOAD["note"]})), r'"{\"got\": \"***\"}"'),
        ("iban DE89370400440532... is invalid", "iban ***... is invalid"),
        ("initial 'X' is too short", "initial '***' is too short"),
        ("nested must be an object", "nested must be an object"),
        (f"{SECRET} and jo@example.com", "*** and ***"),
        (f"Bearer {SECRET[:-1]}... is wrong", "Bearer ***... is wrong"),
    ],
)
def test_what_the_service_says_is_shown_without_the_payload(reason, shown):
    """The values of the request are redacted in every form, even if they are cut off."""
    assert redact(reason, [SECRET], json.dumps({"payloads": [PAYLOAD]}).encode()) == shown


def test_a_reason_is_withheld_if_the_payload_cannot_be_decoded():
    body = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert "withheld" in redact("no such field", [SECRET], body)
