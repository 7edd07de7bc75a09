"""A tap that runs while a test goes on: watch what it writes, signal it, kill it."""

from __future__ import annotations

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
# What the end of a run may take; the promise is two seconds, and this machine may be busy.
END_SECS = 5.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: It does not, for as long as `WAIT_SECS`.
    """
    deadline = time.monotonic() + WAIT_SECS
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_SECS:.0f} s for: {what}"
        time.sleep(0.01)


class RunningTap:
    """A process of the tap whose two outputs are read all the time."""

    def __init__(self, *args: str | Path, env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command("tap-workato-streams", *args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**(env or {})),
            bufsize=0,
        )
        assert self._process.stdout
        assert self._process.stderr
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._readers = [
            _reading(self._process.stdout, self._stdout),
            _reading(self._process.stderr, self._stderr),
        ]

    @property
    def stdout(self) -> bytes:
        """The lines that were written in full so far."""
        written = bytes(self._stdout)
        return written[: written.rfind(b"\n") + 1]

    @property
    def stderr(self) -> str:
        """What was logged so far."""
        return self._stderr.decode(errors="replace")

    @property
    def so_far(self) -> Outcome:
        """The outcome as it stands; its exit code is meaningless while the tap runs."""
        code = self._process.poll()
        return Outcome(-1 if code is None else code, self.stdout, self.stderr)

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_for(self, condition: Callable[[Outcome], object], what: str) -> None:
        """Wait until what was written meets a condition; fails at once when the tap ends first."""

        def met() -> bool:
            running = self.is_running
            if condition(self.so_far):
                return True
            assert running, f"the tap ended before: {what}\n{self.stderr}"
            return False

        eventually(met, what)

    def wait_for_records(self, count: int) -> None:
        """Wait until so many RECORD lines are there."""
        self.wait_for(lambda run: len(run.records()) >= count, f"{count} records")

    def wait_for_bookmark(self, stream: str, message_id: str) -> None:
        """Wait until a STATE line tells this bookmark."""
        self.wait_for(
            lambda run: run.states and bookmark(run.states[-1], stream) == message_id,
            f"bookmark {message_id} of {stream}",
        )

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(signum)

    def end(self, *, within: float = WAIT_SECS) -> Outcome:
        """Wait for the process to end.

        Raises:
            subprocess.TimeoutExpired: It did not, within so many seconds.
        """
        code = self._process.wait(within)
        for reader in self._readers:
            reader.join(WAIT_SECS)
        return Outcome(code, bytes(self._stdout), self.stderr)

    def kill(self) -> Outcome:
        """Kill the process, as SIGKILL does: whatever it is doing."""
        self._process.kill()
        return self.end()


def bookmark(state: dict[str, Any], stream: str) -> str | None:
    """The message id that a state holds for a stream."""
    value: str | None = state.get("bookmarks", {}).get(stream, {}).get("replication_key_value")
    return value


def start_with_pipe(config: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start a tap whose output is read by the test alone, when it likes or never."""
    return subprocess.Popen(
        command("tap-workato-streams", "--config", config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
    )


def _reading(pipe: IO[bytes], into: bytearray) -> threading.Thread:
    def read() -> None:
        with pipe:
            while chunk := pipe.read(65_536):
                into.extend(chunk)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread
