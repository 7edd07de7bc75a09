"""Split the body of a request without decoding the payloads, so that their bytes do not change."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

import msgspec

from workato_streams_emulator.responses import Problem

BLANKS = re.compile(r"[ \t\r\n]+")


class _Batch(msgspec.Struct):
    payloads: list[msgspec.Raw]


_batch = msgspec.json.Decoder(_Batch)
_any = msgspec.json.Decoder(msgspec.Raw)


def _reject(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# Numbers are not converted, because Python rejects very long ones.
_scanner = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_reject)


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


def whole(body: bytes) -> bytes:
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


def is_object(payload: bytes) -> bool:
    """Whether a payload is a JSON object."""
    return payload[:1] == b"{"


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
