"""One run of the target in this process, with a simulated service."""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from target_workato_streams.publishing import exactly_once_producer

from tests.exactly_once.service import Killed
from tests.messages_api import MessagesApi
from tests.target.in_process import listen

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

KEY_FIELD = "message_key"


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
        self._submit_all: Callable[[], None]

    def start(self, submit_all: Callable[[], None]) -> None:
        """Accept the function that submits all batches, as if because of their age."""
        self._submit_all = submit_all

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines; at any of them, batches may reach their maximum age."""
        for line in self._lines:
            self._service.may_kill(self._rng, "between lines")
            if b'"SCHEMA"' not in line:
                self._service.note(f"  {line.decode().strip()}")
            yield line
            if self._rng.random() < 0.2:
                self._submit_all()
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
    with (
        tempfile.TemporaryDirectory() as folder,
        MessagesApi(service.respond) as api,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(exactly_once_producer, "MAX_UNACKNOWLEDGED", rng.choice((4, 20)))
        patch.setattr(exactly_once_producer, "MAX_SECS_WITHOUT_STATE", rng.choice((60.0, 0.0)))
        config = {
            "api_url": api.url,
            "topics": history.routes,
            "exactly_once": True,
            "message_key_field": KEY_FIELD,
            "batch_size_rows": 3,
            "max_batch_age_secs": 3600,
            "on_rejected": "dead_letter",
            "dead_letter_path": f"{folder}/dead.jsonl",
            **settings,
        }
        try:
            listen(given, Output(history), start=given.start, **config)
        except Exception:
            if not service.killed:
                raise
