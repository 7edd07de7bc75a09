"""The server process, which exits together with the process that started it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
END_SECS = 60


def start_process(*, database: Path | None, port: int) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server and wait until it listens; return the process and its URL.

    Raises:
        RuntimeError: The server did not start; the reason is on stderr.
    """
    command = [sys.executable, "-m", "tests.emulator", "--until-stdin-closes"]
    command += ["--port", str(port)]
    if database is not None:
        command += ["--database", str(database)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        end_process(process)
        raise RuntimeError("The emulator did not start")
    return process, json.loads(line)["url"]


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Stop a server, and wait until it has exited."""
    process.terminate()
    try:
        process.wait(END_SECS)
    finally:
        process.kill()
        # Leaving the context closes the pipes and waits for the process.
        with process:
            pass
