"""Runs one command and writes what it cost: `python launcher.py RESULT_FILE COMMAND...`.

A process of its own, with the standard library alone: the peak memory that the kernel tells of a
process counts from that of the one which started it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command with this process's own input and output."""
    result, *command = sys.argv[1:]
    began_at, began = time.time(), time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    cost = {
        "began_at": began_at,
        "wall_secs": time.perf_counter() - began,
        "cpu_secs": usage.ru_utime + usage.ru_stime,
        # Linux counts in KiB, macOS in bytes.
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    Path(result).write_text(json.dumps(cost), encoding="utf-8")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
