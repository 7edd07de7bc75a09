"""The emulator from a test's side: start it, set it up, break it, look into it."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from tests.emulator.log import LoggedRequest
from tests.emulator.process import end_process, start_process
from tests.emulator.service import DEVELOPER_TOKEN, TOKEN
from tests.emulator.store import StoredMessage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType


CHUNK = 5_000
TIMEOUT_SECS = 60


class Emulator:
    """One server process on a loopback port; a context manager that ends it.

    Attributes:
        url: Where the public API, the legacy paths and the Developer API are all served.
        token: The Bearer token of the public API and the legacy paths.
        developer_token: The Bearer token of the Developer API.
    """

    token = TOKEN
    developer_token = DEVELOPER_TOKEN

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self._session = requests.Session()
        # Neither a proxy nor .netrc has a say between a test and its emulator.
        self._session.trust_env = False
        self.url = url

    @classmethod
    def start(cls, *, database: Path | None = None, port: int = 0) -> Emulator:
        """Start a server that keeps its messages in memory, or in the SQLite file `database`.

        It ends with `stop`, or when this process does.

        Raises:
            RuntimeError: The server did not start; it wrote to stderr why.
        """
        return cls(*start_process(database=database, port=port))

    def stop(self) -> None:
        """End the server process and wait until it is gone; what is open is cut off."""
        self._session.close()
        end_process(self._process)

    def __enter__(self) -> Emulator:  # noqa: PYI034 - the class is not made to be subclassed
        """The emulator, ended when the block is left."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def reset(self) -> None:
        """Forget topics, messages, log and faults; settings back to their defaults."""
        self._ask("POST", "reset")

    def create_topic(
        self,
        name: str = "orders",
        *,
        id: int | None = None,  # noqa: A002 - the API's own name
        schema: list[dict[str, Any]] | None = None,
        retention: int = 604_800,
    ) -> int:
        """Make a topic and return its id; `retention` in seconds, `schema` in Workato's format.

        Raises:
            ValueError: There is a topic with this id.
        """
        topic = {"id": id, "name": name, "retention": retention, "schema": schema or []}
        return int(self._ask("POST", "topics", topic))

    def load(
        self,
        topic_id: int,
        payloads: Iterable[bytes | dict[str, Any] | list[Any]],
        *,
        times: Iterable[str] | None = None,
    ) -> list[str]:
        """Store messages without a request to the service, and return their ids.

        Bytes are stored as they are, JSON or not. `times` (RFC 3339) should ascend, one for each
        payload, default now; those older than the topic's retention are dropped from the start.
        """
        ids: list[str] = []
        encoded = (each if isinstance(each, bytes) else _encode(each) for each in payloads)
        moments = None if times is None else iter(times)
        while chunk := list(islice(encoded, CHUNK)):
            at = None if moments is None else list(islice(moments, len(chunk)))
            body = {"payloads": chunk, "times": at}
            ids += self._ask("POST", f"topics/{topic_id}/load", body)
        return ids

    def messages(self, topic_id: int) -> list[StoredMessage]:
        """The topic's messages in order, payloads byte for byte as published."""
        return msgspec.convert(self._ask("GET", f"topics/{topic_id}/messages"), list[StoredMessage])

    def payloads(self, topic_id: int) -> list[Any]:
        """The topic's payloads in order, decoded from JSON."""
        return [json.loads(message.payload) for message in self.messages(topic_id)]

    def requests(
        self, *, operation: str | None = None, topic_id: int | None = None
    ) -> list[LoggedRequest]:
        """What the service was asked so far, in order, the requests under way included."""
        query = {"operation": operation, "topic_id": topic_id}
        return msgspec.convert(self._ask("GET", "requests", query=query), list[LoggedRequest])

    def clear_requests(self) -> None:
        """Empty the request log."""
        self._ask("DELETE", "requests")

    def configure(self, **settings: Any) -> None:  # noqa: ANN401 - see the fields of Settings
        """Change the service's behaviour; see `tests.emulator.settings.Settings`.

        Raises:
            ValueError: A setting has no such name or type.
        """
        self._ask("POST", "settings", settings)

    def fault(
        self,
        kind: str,
        *,
        operation: str = "*",
        topic_id: int | None = None,
        after: int = 0,
        times: int = 1,
        **options: Any,  # noqa: ANN401 - see the fields of Fault
    ) -> None:
        """Inject a fault: skip `after` matching requests, then hit `times` of them (-1: forever).

        Kinds, with their options (`stored=True`: the request is processed all the same):

        - `latency` (`secs`): processed, `secs` later
        - `stall` (`secs`, `stored`): no response for `secs`, then the connection ends
        - `status` (`status`, `body`, `headers`, `stored`): this status, 500 by default
        - `reset`: a TCP RST before the request is processed; `reset_after`: after it
        - `cut`: processed, half of the response arrives; `cut_json`: half, as if it were whole
        - `html`, `garbage` (`body`): processed, 200 with a web page, or JSON of another shape
        - `entry_error` (`indices`, `reason`): these entries of a batch fail, the others do not
        - `missing_entry` (`indices`, `stored`): these are missing from the response
        - `redirect` (`status`, `location`): sent elsewhere, not processed

        Raises:
            ValueError: There is no such kind or option.
        """
        body = options.pop("body", None)
        if body is not None:
            options["body"] = body.encode() if isinstance(body, str) else body
            if not isinstance(options["body"], bytes):
                options["body"] = _encode(body)
        order = {"kind": kind, "operation": operation, "topic_id": topic_id}
        self._ask("POST", "faults", {**order, "after": after, "times": times, **options})

    def clear_faults(self) -> None:
        """Remove the faults that have not happened yet."""
        self._ask("DELETE", "faults")

    def expire(self, topic_id: int, up_to: str) -> None:
        """Drop the topic's messages up to and including this message id, as retention would.

        Raises:
            ValueError: The topic has no such message.
        """
        self._ask("POST", f"topics/{topic_id}/expire", up_to)

    def purge(self, topic_id: int) -> None:
        """Drop all of the topic's messages."""
        self._ask("POST", f"topics/{topic_id}/purge")

    def _ask(
        self, method: str, path: str, body: object = None, query: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the action returns
        answer = self._session.request(
            method,
            f"{self.url}/_emulator/{path}",
            data=None if body is None else msgspec.msgpack.encode(body),
            params=query,
            timeout=TIMEOUT_SECS,
        )
        if not answer.ok:
            raise ValueError(answer.text)
        return msgspec.msgpack.decode(answer.content)


def _encode(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
