"""The client for tests: start the emulator, configure it, inject faults, inspect it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import requests

from workato_streams_emulator.exchange import LoggedRequest
from workato_streams_emulator.service import DEVELOPER_TOKEN, TOKEN
from workato_streams_emulator.store import StoredMessage

CHUNK = 5_000
TIMEOUT_SECS = 60


class Emulator:
    """A server process on a loopback port; as a context manager, it stops the process on exit.

    Attributes:
        url: The base URL of the public API, the legacy paths and the Developer API.
        token: The Bearer token of the public API and the legacy paths.
        developer_token: The Bearer token of the Developer API.
    """

    token = TOKEN
    developer_token = DEVELOPER_TOKEN

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self._session = requests.Session()
        # A proxy or .netrc of the machine must not affect the tests.
        self._session.trust_env = False
        self.url = url

    @classmethod
    def start(cls, *, database: Path | None = None, port: int = 0) -> Emulator:
        """Start a server that keeps its messages in memory, or in the SQLite file `database`.

        It runs until `stop` is called or this process exits.

        Raises:
            RuntimeError: The server did not start; the reason is on stderr.
        """
        return cls(*_start_process(database=database, port=port))

    def stop(self) -> None:
        """Stop the server process, and wait until it has exited; open connections are closed."""
        self._session.close()
        _end_process(self._process)

    def __enter__(self) -> Emulator:  # noqa: PYI034 - the class is not made to be subclassed
        """Return the emulator."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server process."""
        self.stop()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that connect both connectors to the emulator."""
        return {
            f"{connector}_WORKATO_STREAMS_{setting}": value
            for connector in ("TAP", "TARGET")
            for setting, value in {
                "API_URL": self.url,
                "API_TOKEN": self.token,
                "DEVELOPER_API_URL": self.url,
            }.items()
        }

    def reset(self) -> None:
        """Remove topics, messages, the log and faults, and restore the default settings."""
        self._ask("POST", "reset")

    def create_topic(
        self,
        name: str = "orders",
        *,
        id: int | None = None,  # noqa: A002 - the API's own name
        schema: list[dict[str, Any]] | None = None,
        retention: int = 604_800,
    ) -> int:
        """Create a topic and return its id; `retention` in seconds, `schema` in Workato's format.

        Raises:
            ValueError: A topic with this id exists.
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

        Payloads are stored unchanged, even if they are not JSON. `times` has an RFC 3339 time for
        each payload, in ascending order; the default is now. Messages older than the topic's
        retention have already expired.
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
        """Return the topic's messages in order, with their payloads as they were published."""
        return msgspec.convert(self._ask("GET", f"topics/{topic_id}/messages"), list[StoredMessage])

    def payloads(self, topic_id: int) -> list[Any]:
        """Return the topic's payloads in order, decoded from JSON."""
        return [json.loads(message.payload) for message in self.messages(topic_id)]

    def requests(
        self, *, operation: str | None = None, topic_id: int | None = None
    ) -> list[LoggedRequest]:
        """Return the requests so far in order, including those in progress."""
        query = {"operation": operation, "topic_id": topic_id}
        return msgspec.convert(self._ask("GET", "requests", query=query), list[LoggedRequest])

    def wait_until_idle(self) -> None:
        """Wait until no request is in progress, for example after its client was killed.

        Raises:
            TimeoutError: A request is still in progress after a minute.
        """
        # By then, requests that have been sent are in the log.
        time.sleep(0.1)
        deadline = time.monotonic() + TIMEOUT_SECS
        while not all(request.finished_at for request in self.requests()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"requests are still in progress after {TIMEOUT_SECS} s")
            time.sleep(0.01)

    def clear_requests(self) -> None:
        """Clear the request log."""
        self._ask("DELETE", "requests")

    def configure(self, **settings: Any) -> None:  # noqa: ANN401 - see the fields of Settings
        """Change the service's behavior; see `service.Settings`.

        Raises:
            ValueError: A setting is unknown or has the wrong type.
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
        """Inject a fault: skip `after` matching requests, then affect the next `times` (-1: all).

        Kinds, with their options (`stored=True`: the request is processed nevertheless):

        - `latency` (`secs`): processed, but delayed by `secs`
        - `stall` (`secs`, `stored`): no response for `secs`, then the connection is closed
        - `status` (`status`, `body`, `headers`, `stored`): this status, 500 by default
        - `reset`: a TCP RST before the request is processed; `reset_after`: a TCP RST after it
        - `cut`: processed, but only half of the body is sent; `cut_json`: the same, with a
          Content-Length that matches the half
        - `html`, `garbage` (`body`): processed, but 200 with a web page, or with unexpected JSON
        - `entry_error` (`indices`, `reason`): these entries of a batch fail
        - `missing_entry` (`indices`, `stored`): these entries are missing from the response
        - `redirect` (`status`, `location`): redirected, not processed
        - `late` (`secs`): a TCP RST; the request is processed `secs` later
        - `no_date`: processed, but the response has no `Date` header
        - `reject_position` (`status`, `message_id`): a consume request with `after_message_id` is
          rejected as if this message, or any without `message_id`, did not exist
        - `expire` (`up_to`): before a consume request with `after_message_id` is processed, the
          messages up to this one, or to `up_to`, expire

        With each kind, the entries `indices` of a batch that is processed fail.

        Raises:
            ValueError: The kind or an option is unknown.
        """
        body = options.pop("body", None)
        if body is not None:
            options["body"] = body.encode() if isinstance(body, str) else body
            if not isinstance(options["body"], bytes):
                options["body"] = _encode(body)
        order = {"kind": kind, "operation": operation, "topic_id": topic_id}
        self._ask("POST", "faults", {**order, "after": after, "times": times, **options})

    def deviate(self, topic_id: int, **deviations: Any) -> None:  # noqa: ANN401 - see Deviations
        """Let a topic deviate from the documented service; see `deviations.Deviations`.

        These deviations replace earlier ones, so without any the topic no longer deviates. They
        affect messages that are published or loaded, and requests that are sent, from now on.

        Raises:
            ValueError: The topic does not exist, or a deviation is unknown or has the wrong type.
        """
        self._ask("POST", f"topics/{topic_id}/deviations", deviations)

    def clear_faults(self) -> None:
        """Remove all faults that are still pending."""
        self._ask("DELETE", "faults")

    def expire(self, topic_id: int, up_to: str) -> None:
        """Remove the topic's messages up to and including this one, as if they had expired.

        Raises:
            ValueError: The message does not exist in the topic.
        """
        self._ask("POST", f"topics/{topic_id}/expire", up_to)

    def purge(self, topic_id: int) -> None:
        """Remove all messages of a topic."""
        self._ask("POST", f"topics/{topic_id}/purge")

    def _ask(
        self, method: str, path: str, body: object = None, query: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the action returns
        response = self._session.request(
            method,
            f"{self.url}/_emulator/{path}",
            data=None if body is None else msgspec.msgpack.encode(body),
            params=query,
            timeout=TIMEOUT_SECS,
        )
        if not response.ok:
            raise ValueError(response.text)
        return msgspec.msgpack.decode(response.content)


def _start_process(*, database: Path | None, port: int) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server and wait until it listens; return the process and its URL."""
    command = [sys.executable, "-m", "workato_streams_emulator", "--until-stdin-closes"]
    command += ["--port", str(port)]
    if database is not None:
        command += ["--database", str(database)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        _end_process(process)
        raise RuntimeError("The emulator did not start")
    return process, json.loads(line)["url"]


def _end_process(process: subprocess.Popen[bytes]) -> None:
    """Stop a server, and wait until it has exited."""
    process.terminate()
    try:
        process.wait(TIMEOUT_SECS)
    finally:
        process.kill()
        # Leaving the context closes the pipes and waits for the process.
        with process:
            pass


def _encode(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
