"""Singer lines to feed the target with."""

import json
from typing import Any


def schema(
    stream: str = "orders",
    keys: tuple[str, ...] = ("id",),
    **properties: Any,  # noqa: ANN401 - JSON Schemas
) -> bytes:
    """A SCHEMA line; without properties, of an id alone."""
    described = {"type": "object", "properties": properties or {"id": {"type": "integer"}}}
    message = {"type": "SCHEMA", "stream": stream, "schema": described, "key_properties": keys}
    return json.dumps(message).encode()


def record(stream: str = "orders", **fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A RECORD line."""
    return json.dumps({"type": "RECORD", "stream": stream, "record": fields}).encode()


def raw_record(text: bytes, stream: str = "orders") -> bytes:
    """A RECORD line whose record is this text."""
    return b'{"type":"RECORD","stream":"%b","record":%b}' % (stream.encode(), text)


def state(value: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A STATE line that says how far the input has come."""
    return json.dumps({"type": "STATE", "value": {"at": value}}).encode()


def lines(*parts: bytes) -> bytes:
    """Lines as one text."""
    return b"".join(part + b"\n" for part in parts)


def orders(count: int, *, start: int = 0, state_every: int = 0, size: int = 0) -> list[bytes]:
    """RECORD lines with ids from `start` on; a STATE with the last id after each `state_every`."""
    found = []
    for number in range(start, start + count):
        found.append(record(id=number, **({"pad": "x" * size} if size else {})))
        if state_every and (number + 1) % state_every == 0:
            found.append(state(number))
    return found
