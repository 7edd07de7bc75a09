"""The time from the arrival of a message to its RECORD line, in tail mode."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.support.executables import command, environment
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import tap_config
from tests.tools.benchmarks.report import Goal, Section
from tests.tools.benchmarks.scale import Scale

# Long enough for the tap to be in its next long poll, most of the time.
PAUSE_SECS = 0.02
ABOUT = """\
{count} messages, one at a time, into a topic that the tap reads in tail mode. The time starts just
before a message is passed to the emulator, and ends when its RECORD line is read from stdout."""


def run(scale: Scale) -> Section:
    """Measure the latency of each message."""
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        topic_id = emulator.create_topic()
        config = tap_config(Path(name), emulator, {workload.STREAM: topic_id}, tail=True)
        with (
            (Path(name) / "stderr").open("wb") as errors,
            subprocess.Popen(
                command("tap-workato-streams", "--config", config),
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
            ) as tap,
        ):
            try:
                delays = _delays(emulator, topic_id, tap, scale.arrivals)
            finally:
                tap.terminate()
    milliseconds = sorted(1000 * delay for delay in delays)
    median = statistics.median(milliseconds)
    return Section(
        "The tail",
        ABOUT.format(count=scale.arrivals),
        ["", "median ms", "95% within ms", "longest ms"],
        [
            [
                "tap-workato-streams",
                f"{median:.1f}",
                f"{milliseconds[int(0.95 * len(milliseconds))]:.1f}",
                f"{milliseconds[-1]:.1f}",
            ]
        ],
        goals=[Goal("from arrival to stdout", median, 100, " ms", at_most=True)],
    )


def _delays(
    emulator: Emulator, topic_id: int, tap: subprocess.Popen[bytes], count: int
) -> list[float]:
    while not emulator.requests(operation="consume"):
        time.sleep(PAUSE_SECS)
    delays = []
    for payload in workload.payloads(count):
        time.sleep(PAUSE_SECS)
        began = time.perf_counter()
        emulator.load(topic_id, [payload])
        _read_record(tap, payload)
        delays.append(time.perf_counter() - began)
    return delays


def _read_record(tap: subprocess.Popen[bytes], payload: bytes) -> None:
    for line in tap.stdout or ():
        if line.startswith(b'{"type":"RECORD"'):
            if payload not in line:
                raise RuntimeError("the tap wrote a different message from the one that arrived")
            return
    raise RuntimeError("the tail ended")
