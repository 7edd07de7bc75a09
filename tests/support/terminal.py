"""Run an executable whose stderr is a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

from tests.support.executables import TIMEOUT_SECS, environment
from tests.support.running import killed_at_end


def on_a_terminal(*line: str | Path, stdin: bytes | None = None) -> str:
    """Run a command with a terminal as its stderr; return the terminal's content."""
    leader, follower = pty.openpty()
    rows_and_columns = struct.pack("HHHH", 24, 160, 0, 0)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, rows_and_columns)
    process = subprocess.Popen(
        line,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env=environment(TERM="xterm"),
    )
    with killed_at_end(process):
        os.close(follower)
        if process.stdin and stdin:
            process.stdin.write(stdin)
            process.stdin.close()
        shown = bytearray()
        # Linux reports EIO when the last process has closed the terminal.
        with suppress(OSError):
            while chunk := os.read(leader, 65_536):
                shown += chunk
        os.close(leader)
        assert process.wait(TIMEOUT_SECS) == 0, shown.decode()
    return shown.decode()
