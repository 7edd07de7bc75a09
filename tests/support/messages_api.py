"""The messages API with scripted responses, for tests that run the target in their own process."""

import json
import re
import socket
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tests.support.raw_service import RawService, http_response

PATH = re.compile(rb"POST \S*/topics/(\d+)/(publish|consume) ")


class MessagesApi(RawService):
    """Responds to each request ("publish" or "consume") with what a function returns.

    If that is None, it closes the connection without a response.
    """

    def __init__(self, respond: Callable[[int, str, bytes], bytes | None]) -> None:
        def respond_to(connection: socket.socket, number: int) -> None:
            head, _, body = self.requests[number].partition(b"\r\n\r\n")
            found = PATH.match(head)
            assert found
            response = respond(int(found[1]), found[2].decode(), body)
            if response is None:
                connection.close()
            else:
                connection.sendall(response)

        super().__init__(respond_to)


class _Batch(msgspec.Struct):
    payloads: list[msgspec.Raw]


def payloads_of(body: bytes) -> list[bytes]:
    """Return the messages of a batch, byte by byte."""
    return [bytes(payload) for payload in msgspec.json.decode(body, type=_Batch).payloads]


def batch_response(results: Mapping[int, str | None], *headers: str) -> bytes:
    """Return the response to a batch, with the message id of each entry; None if it failed."""
    entries = {
        index: {"result": "error", "error": "failed"}
        if message_id is None
        else {"result": "success", "message_id": message_id}
        for index, message_id in results.items()
    }
    partial = None in results.values()
    body = json.dumps({"is_partial_error": partial, "message_ids": entries})
    return http_response(body.encode(), *headers)


def rejection(status: str) -> bytes:
    """Return a response with an error status."""
    return http_response(b'{"message": "rejected"}', status=status)


def page(messages: Sequence[tuple[str, bytes, str]], *headers: str) -> bytes:
    """Return a page of messages: their ids, payloads and times."""
    texts = [
        b'{"message_id":"%b","payload":%b,"time":"%b"}' % (text.encode(), payload, time.encode())
        for text, payload, time in messages
    ]
    return http_response(b'{"messages":[%b]}' % b",".join(texts), *headers)
