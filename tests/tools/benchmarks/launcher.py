"""Run one command and write its time and memory: `python launcher.py RESULT_FILE COMMAND...`.

A separate, small process, because the kernel's peak memory of a process starts at that of its
parent.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command with the stdin, stdout and stderr of this process."""
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
