"""A target that runs while a test goes on: feed it, watch what it tells, signal it, kill it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.executables import Outcome, command, environment

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

WAIT_SECS = 30.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: It does not, for as long as `WAIT_SECS`.
    """
    deadline = time.monotonic() + WAIT_SECS
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_SECS:.0f} s for: {what}"
        time.sleep(0.01)


class RunningTarget:
    """A process of the target whose input stays open until the test closes it."""

    def __init__(self, *args: str | Path) -> None:
        self._process = subprocess.Popen(
            command("target-workato-streams", *args),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self._outputs: tuple[list[bytes], list[bytes]] = ([], [])
        self._readers = [
            threading.Thread(target=self._read, args=(pipe, lines), daemon=True)
            for pipe, lines in zip(
                (self._process.stdout, self._process.stderr), self._outputs, strict=True
            )
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(pipe: IO[bytes], lines: list[bytes]) -> None:
        lines.extend(iter(pipe.readline, b""))
        pipe.close()

    def feed(self, *lines: bytes) -> None:
        """Write lines to its input; blocks while the target does not read."""
        self.feed_bytes(b"".join(line + b"\n" for line in lines))

    def feed_bytes(self, text: bytes) -> None:
        """Write a piece of its input, which need not end where a line does."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def close_input(self) -> None:
        """End its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    @property
    def told(self) -> list[Any]:
        """The states told so far: what `singer.state` was given."""
        return [json.loads(line)["at"] for line in list(self._outputs[0])]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def end(self, timeout: float = WAIT_SECS) -> Outcome:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: It did not, within `timeout` seconds.
        """
        code = self._process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        stdout, stderr = (b"".join(lines) for lines in self._outputs)
        return Outcome(code, stdout, stderr.decode(errors="replace"))

    def kill(self) -> None:
        """End it at once, if it runs, and give its pipes back."""
        self._process.kill()
        self.end()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
