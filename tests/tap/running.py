"""A tap that runs during a test, and what its state contains."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests.executables import Outcome, command, environment
from tests.running import Running, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What the end of a run may take; the promise is two seconds, and this machine may be busy.
END_SECS = 5.0


class RunningTap(Running):
    """A process of the tap."""

    def __init__(self, *args: str | Path, env: dict[str, str] | None = None) -> None:
        super().__init__("tap-workato-streams", *args, env=env)

    @property
    def so_far(self) -> Outcome:
        """The outcome so far; the exit code is meaningless while the tap runs."""
        code = self._process.poll()
        return Outcome(-1 if code is None else code, self.stdout, self.stderr)

    def wait_for(self, condition: Callable[[Outcome], object], what: str) -> None:
        """Wait until the output meets a condition; fail at once if the tap ends before."""

        def met() -> bool:
            running = self.is_running
            if condition(self.so_far):
                return True
            assert running, f"the tap ended before: {what}\n{self.stderr}"
            return False

        eventually(met, what)

    def wait_for_records(self, count: int) -> None:
        """Wait for this many RECORD lines."""
        self.wait_for(lambda run: len(run.records()) >= count, f"{count} records")

    def wait_for_bookmark(self, stream: str, message_id: str) -> None:
        """Wait for a STATE line with this bookmark."""
        self.wait_for(
            lambda run: run.states and bookmark(run.states[-1], stream) == message_id,
            f"bookmark {message_id} of {stream}",
        )


def bookmark(state: dict[str, Any], stream: str) -> str | None:
    """Return the message id that a state contains for a stream."""
    value: str | None = state.get("bookmarks", {}).get(stream, {}).get("replication_key_value")
    return value


def start_with_pipe(
    config: Path, stderr: int = subprocess.PIPE, **variables: str
) -> subprocess.Popen[bytes]:
    """Start a tap whose stdout is read only by the test, if at all."""
    return subprocess.Popen(
        command("tap-workato-streams", "--config", config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment(**variables),
    )


def read_slowly(process: subprocess.Popen[bytes], *, chunk_bytes: int, rest_secs: float) -> Outcome:
    """Read the output of a tap to its end, one chunk at a time with a pause after it."""
    assert process.stdout
    written = bytearray()
    while chunk := os.read(process.stdout.fileno(), chunk_bytes):
        written += chunk
        time.sleep(rest_secs)
    _, stderr = process.communicate()
    return Outcome(process.returncode, bytes(written), stderr.decode())
