"""Python imports this at its start, where PYTHONPATH names this folder: its clock is then ahead."""

import time

AHEAD_SECS = 2

_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + AHEAD_SECS
time.time_ns = lambda: _time_ns() + AHEAD_SECS * 1_000_000_000
