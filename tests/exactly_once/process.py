"""One run of the target in this process, with a simulated service."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from target_workato_streams import target as from_config
from target_workato_streams.event_streams import session as retry
from target_workato_streams.event_streams.errors import RequestRejected, Unavailable
from target_workato_streams.publishing import context as rejections
from target_workato_streams.publishing import exactly_once_producer
from target_workato_streams.publishing.client import PublishResult
from target_workato_streams.publishing.look_up import KeyConsumer
from target_workato_streams.target import TargetWorkatoStreams

from tests.exactly_once.service import BatchRejected, Expired, Killed, Lost

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from target_workato_streams.event_streams.consume import Cursor, Messages
    from target_workato_streams.event_streams.session import ApiSession
    from target_workato_streams.publishing.summary import Tally

    from tests.exactly_once.service import Service

KEY_FIELD = "message_key"


class PlayedClient:
    """A simulated connection to one topic."""

    def __init__(self, service: Service, topic_id: int, session: ApiSession | None = None) -> None:
        self.session = session
        self._service = service
        self._topic_id = topic_id

    def publish(self, bodies: Sequence[bytes], tally: Tally) -> PublishResult:
        """Publish a batch."""
        tally.requests += 1
        try:
            ids = self._service.publish(self._topic_id, bodies)
        except Lost:
            raise Unavailable("no response") from None
        except BatchRejected:
            raise RequestRejected("rejected", status=422, reason="rejected") from None
        acknowledged = [message_id for message_id in ids if message_id]
        failed = {index: "failed" for index, each in enumerate(ids) if each is None}
        return PublishResult(failed, (), acknowledged[-1] if acknowledged else None)

    def consume(self, cursor: Cursor, *, batch_size: int) -> Messages:
        """Consume a page."""
        try:
            return self._service.consume(self._topic_id, cursor, batch_size)
        except Expired:
            raise RequestRejected("expired", status=400) from None

    def close(self) -> None:
        """Do nothing."""


class Pipeline(Protocol):
    """The pipeline whose target runs."""

    service: Any
    routes: dict[str, int]
    output_rng: random.Random

    def emit(self, line: bytes) -> None:
        """Store a state that the target emits."""


class Input:
    """The lines of the tap; the process may be killed between two of them."""

    def __init__(self, history: Pipeline, lines: Sequence[bytes], rng: random.Random) -> None:
        self._service = history.service
        self._lines = lines
        self._rng = rng
        self.target: TargetWorkatoStreams

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines; at any of them, batches may reach their maximum age."""
        for line in self._lines:
            self._service.may_kill(self._rng, "between lines")
            if b'"SCHEMA"' not in line:
                self._service.note(f"  {line.decode().strip()}")
            yield line
            if self._rng.random() < 0.2:
                self.target._producer.submit_all()  # noqa: SLF001 - as if by their age
        self._service.may_kill(self._rng, "at the end of the input")


class Output:
    """A stdout that passes states on to the pipeline."""

    def __init__(self, history: Pipeline) -> None:
        self._history = history

    def write(self, text: memoryview | bytes) -> int:
        """Pass a state on; the process may be killed after it."""
        self._history.emit(bytes(text))
        # The next operation raises it again.
        with contextlib.suppress(Killed):
            self._history.service.may_kill(self._history.output_rng, "after a state")
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""


def run_target(
    history: Pipeline,
    lines: Sequence[bytes],
    rng: random.Random,
    **settings: Any,  # noqa: ANN401 - settings are JSON
) -> None:
    """Run the target; it may be killed, but must not fail."""
    service = history.service
    given = Input(history, lines, rng)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        _patch(patch, service, limit=rng.choice((4, 20)), state_secs=rng.choice((60.0, 0.0)))
        patch.setattr(sys, "stdout", SimpleNamespace(buffer=Output(history)))
        given.target = TargetWorkatoStreams(
            config={
                "api_token": "token",
                "topics": history.routes,
                "exactly_once": True,
                "message_key_field": KEY_FIELD,
                "batch_size_rows": 3,
                "max_batch_age_secs": 3600,
                "max_retry_secs": 10**6,
                "on_rejected": "dead_letter",
                "dead_letter_path": f"{folder}/dead.jsonl",
                **settings,
            }
        )
        source: Any = given
        try:
            given.target.listen(source)
        except Exception:
            if not service.killed:
                raise


def _patch(patch: pytest.MonkeyPatch, service: Service, *, limit: int, state_secs: float) -> None:
    patch.setattr(rejections, "FIRST_WAIT_SECS", 0)
    patch.setattr(rejections.EntryRetries, "may_retry", lambda *args: args[-1] < 3)
    patch.setattr(retry, "LONGEST_WAIT_SECS", 0)
    patch.setattr(exactly_once_producer, "MAX_UNACKNOWLEDGED", limit)
    patch.setattr(exactly_once_producer, "MAX_SECS_WITHOUT_STATE", state_secs)
    patch.setattr(TargetWorkatoStreams, "_setup_signal_handlers", lambda _self: None)
    patch.setattr(
        from_config,
        "PublishClient",
        lambda session, topic_id: PlayedClient(service, topic_id, session),
    )
    patch.setattr(
        from_config,
        "open_consumer",
        lambda *_args: (
            lambda topic_id, label: KeyConsumer(PlayedClient(service, topic_id), label, KEY_FIELD)
        ),
    )
