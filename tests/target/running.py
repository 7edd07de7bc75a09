"""A target that runs while a test goes on, and is fed by it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tests.running import Running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.executables import Outcome


class RunningTarget(Running):
    """A process of the target whose input stays open until the test closes it."""

    def __init__(self, *args: str | Path, env: dict[str, str] | None = None) -> None:
        super().__init__("target-workato-streams", *args, stdin=subprocess.PIPE, env=env)

    def feed(self, *lines: bytes) -> None:
        """Write lines to its input; blocks while the target does not read."""
        self.feed_bytes(b"".join(line + b"\n" for line in lines))

    def feed_bytes(self, text: bytes) -> None:
        """Write a piece of its input, which need not end where a line does."""
        assert self._process.stdin is not None
        left = memoryview(text)
        while left:
            left = left[self._process.stdin.write(left) :]

    def feed_and_close(self, lines: list[bytes]) -> None:
        """Write lines to its input and end it, while the test goes on."""

        def feed() -> None:
            with contextlib.suppress(BrokenPipeError):
                self.feed(*lines)
            self.close_input()

        threading.Thread(target=feed, daemon=True).start()

    def close_input(self) -> None:
        """End its input."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    @property
    def emitted(self) -> list[Any]:
        """The states emitted so far: the values that `singer.state` was given."""
        return [json.loads(line)["at"] for line in self.stdout.splitlines()]

    @override
    def kill(self) -> Outcome:
        """Kill the process, and give its input back."""
        outcome = super().kill()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return outcome
