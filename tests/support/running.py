"""Run an executable in the background: read its output, send it signals, kill it."""

import fcntl
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, AnyStr

from tests.support.executables import Outcome, command, environment

# Enough for a very busy machine, but less than a pause or long poll that must not be waited for.
WAIT_SECS = 45.0
# After this time, a process is killed: a test that reads its output would wait forever.
PROCESS_SECS = 60.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds, and fail after `WAIT_SECS`."""
    deadline = time.monotonic() + WAIT_SECS
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_SECS:.0f} s for: {what}"
        time.sleep(0.01)


def never(condition: Callable[[], object], what: str) -> None:
    """Observe for half a second that a condition does not hold; a slow machine can only miss it."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        assert not condition(), what
        time.sleep(0.01)


def unread(pipe: IO[bytes]) -> int:
    """Return the number of bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def await_full_pipe(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has filled its stdout, which nobody reads."""
    assert process.stdout
    pipe = process.stdout
    # The last page of the pipe may have room that is too small for a write.
    eventually(lambda: unread(pipe) > 60_000, "a full pipe")


def await_handled(process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    """Send a signal, and wait until its handler has restored the default for the next one."""
    process.send_signal(signum)
    status = Path(f"/proc/{process.pid}/status")

    def is_caught() -> int:
        [caught] = re.findall(r"SigCgt:\s*(\w+)", status.read_text(encoding="ascii"))
        return int(caught, 16) >> (signum - 1) & 1

    eventually(lambda: not is_caught(), "the handler of the signal")


@contextmanager
def killed_at_end(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Kill a process at the end of the block or after `PROCESS_SECS`, so that a read of it ends.

    `with Popen` would wait until it exits by itself.
    """
    timer = threading.Timer(PROCESS_SECS, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        # Leaving the context closes the pipes and waits for the process.
        with process:
            pass


def insist(process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    """Send a signal until the process exits: two that arrive at the same time count as one."""

    def has_exited() -> bool:
        process.send_signal(signum)
        return process.poll() is not None

    eventually(has_exited, "the process to exit")


class Running:
    """A running executable whose stdout and stderr are read continuously."""

    def __init__(
        self,
        name: str,
        *args: str | Path,
        stdin: int = subprocess.DEVNULL,
        env: dict[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            command(name, *args),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**(env or {})),
            bufsize=0,
        )
        self._stdout = bytearray()
        self._stderr = bytearray()
        pipes = ((self._process.stdout, self._stdout), (self._process.stderr, self._stderr))
        self._readers = [threading.Thread(target=_read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    @property
    def stdout(self) -> bytes:
        """The complete lines of stdout so far."""
        written = bytes(self._stdout)
        return written[: written.rfind(b"\n") + 1]

    @property
    def stderr(self) -> str:
        """The log so far."""
        return self._stderr.decode(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the process has not exited."""
        return self._process.poll() is None

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(signum)

    def insist(self, signum: signal.Signals) -> None:
        """Send a signal until the process exits."""
        insist(self._process, signum)

    def end(self, *, within: float = WAIT_SECS) -> Outcome:
        """Wait until the process exits."""
        code = self._process.wait(within)
        for reader in self._readers:
            reader.join(WAIT_SECS)
        return Outcome(code, bytes(self._stdout), self.stderr)

    def kill(self) -> Outcome:
        """Kill the process with SIGKILL, and close its input."""
        self._process.kill()
        outcome = self.end()
        if self._process.stdin:
            self._process.stdin.close()
        return outcome


def _read(pipe: IO[bytes], into: bytearray) -> None:
    with pipe:
        while chunk := pipe.read(65_536):
            into.extend(chunk)
