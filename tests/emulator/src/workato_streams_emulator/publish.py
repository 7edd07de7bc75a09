"""The publish endpoints: one message, or a batch with a result for each entry."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

import msgspec

from workato_streams_emulator.exchange import ApiResponse, Problem, to_json
from workato_streams_emulator.schema import mismatch
from workato_streams_emulator.service import Call, Service
from workato_streams_emulator.store import Topic

MAX_PAYLOADS = 100
BLANKS = re.compile(r"[ \t\r\n]+")


class _Batch(msgspec.Struct):
    payloads: list[msgspec.Raw]


_batch = msgspec.json.Decoder(_Batch)
_any = msgspec.json.Decoder(msgspec.Raw)


def _reject(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# Numbers are not converted, because Python rejects very long ones.
_scanner = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_reject)


async def publish(service: Service, call: Call) -> ApiResponse:
    """Respond to `POST .../publish`, whose body is the message."""
    topic = service.topic(call.topic_id)
    payload = whole_body(call.body)
    reason = rejection_reason(service, topic, payload)
    if reason:
        raise Problem(HTTPStatus.BAD_REQUEST, reason)
    (message_id,) = service.add(topic, [payload])
    return to_json({"message_id": service.deviations(topic.id).published_id(message_id)})


async def publish_batch(service: Service, call: Call) -> ApiResponse:
    """Respond to `POST /api/v1/batch/...` with up to 100 messages, which are stored in order."""
    topic = service.topic(call.topic_id)
    payloads = split_batch(call.body)
    if not 1 <= len(payloads) <= MAX_PAYLOADS:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"payloads must hold 1 to {MAX_PAYLOADS} messages, not {len(payloads)}",
        )
    reasons = {
        index: reason
        for index, payload in enumerate(payloads)
        if (reason := rejection_reason(service, topic, payload))
    }
    if reasons and service.settings.rejection == "status":
        index = min(reasons)
        raise Problem(service.settings.rejection_status, f"payloads[{index}]: {reasons[index]}")

    lost, left_out = set(reasons), set()
    if call.fault and call.fault.kind == "missing_entry":
        left_out = set(call.fault.indices)
        lost |= set() if call.fault.stored else left_out
    elif call.fault:
        reasons.update(dict.fromkeys(call.fault.indices, call.fault.reason))
        lost.update(call.fault.indices)

    kept = [index for index in range(len(payloads)) if index not in lost]
    deviations = service.deviations(topic.id)
    if deviations.reverse_batches:
        kept.reverse()
    ids = dict(zip(kept, service.add(topic, [payloads[index] for index in kept]), strict=True))
    entries: dict[str, dict[str, Any]] = {
        str(index): {"result": "error", "error": reasons[index]}
        if index in reasons
        else {"message_id": deviations.published_id(ids[index]), "result": "success"}
        for index in range(len(payloads))
        if index not in left_out
    }
    return to_json({"is_partial_error": bool(reasons), "message_ids": entries})


def rejection_reason(service: Service, topic: Topic, payload: bytes) -> str | None:
    """Return the reason why a payload is rejected, or None if it is valid."""
    if payload[:1] != b"{":
        return "the message must be a JSON object"
    return mismatch(payload, topic.schema) if service.settings.schema_checks else None


def split_batch(body: bytes) -> list[bytes]:
    """Return the unchanged payloads of a batch.

    Raises:
        Problem: 400, the body is not JSON or contains no list of payloads.
    """
    text = _text(body)
    try:
        return [bytes(payload) for payload in _batch.decode(body).payloads]
    except msgspec.ValidationError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"payloads must be an array: {exc}") from exc
    except (msgspec.DecodeError, RecursionError):
        # msgspec rejects lone surrogates, which JSON allows.
        return [payload.encode() for payload in _scan_batch(text)]


def whole_body(body: bytes) -> bytes:
    """Return a body that is a JSON value, without surrounding white space.

    Raises:
        Problem: 400, the body is not JSON.
    """
    text = _text(body)
    try:
        _any.decode(body)
    except (msgspec.DecodeError, RecursionError):
        _end(text, _scan(text, _skip(text, 0)))
    return body.strip(b" \t\r\n")


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not UTF-8") from exc


def _scan_batch(text: str) -> list[str]:
    """Find the payloads in the text of a batch with the standard library's JSON scanner."""
    payloads: list[str] = []
    at = _expect(text, 0, "{")
    while True:
        end = _scan(text, at)
        name = json.loads(text[at:end])
        at = _expect(text, end, ":")
        if name == "payloads":
            payloads, at = _scan_list(text, at)
        else:
            at = _scan(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ",":
            _end(text, _expect(text, at, "}"))
            return payloads
        at = _skip(text, at + 1)


def _scan_list(text: str, at: int) -> tuple[list[str], int]:
    at = _expect(text, at, "[")
    items: list[str] = []
    while True:
        end = _scan(text, at)
        items.append(text[at:end])
        at = _skip(text, end)
        if text[at : at + 1] != ",":
            return items, _expect(text, at, "]")
        at = _skip(text, at + 1)


def _scan(text: str, at: int) -> int:
    try:
        return _scanner.raw_decode(text, at)[1]
    except (ValueError, RecursionError) as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON") from exc


def _skip(text: str, at: int) -> int:
    blanks = BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _expect(text: str, at: int, character: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != character:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: no {character} at {at}")
    return _skip(text, at + 1)


def _end(text: str, at: int) -> None:
    if _skip(text, at) != len(text):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON: there is more after its end")
