"""The memory of the target is bounded, whatever its input and the service do."""

import os
import subprocess
import sys
import time

import pytest

from tests.support.executables import command, environment
from tests.support.running import eventually, killed_at_end
from tests.support.singer_lines import lines, record, schema, state

MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdin=sys.stdin, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_input(target_config, tmp_path):
    """Ten times the records need the same memory, except for what the allocator may differ by."""
    target = command("target-workato-streams", "--config", target_config())
    peaks = []
    for count in (5_000, 50_000):
        path = tmp_path / "in.singer"
        with path.open("wb") as file:
            file.write(schema() + b"\n")
            for number in range(count):
                file.write(record(id=number, pad="x" * 300) + b"\n" + state(number) + b"\n")
        with path.open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, *target],
                stdin=file,
                capture_output=True,
                check=True,
                env=environment(),
            )
        peaks.append(int(done.stdout))
    small, large = peaks
    assert large < small * 1.1


@pytest.mark.parametrize(
    "large", [[record("bad", pad="x" * 10_000)], [record("bad"), state("x" * 10_000)]]
)
def test_memory_is_bounded_while_one_topic_fails(emulator, topic, target_config, tmp_path, large):
    """Reading goes on for the other topics, until 32 MB wait for the one that fails."""
    bad = emulator.create_topic("bad")
    emulator.fault("status", status=503, topic_id=bad, times=-1)
    settings = {"topics": {"bad": bad, "*": topic}, "max_batch_age_secs": 1}
    path = tmp_path / "in.singer"
    path.write_bytes(lines(schema(), schema("bad"), record(id=1), *large * 10_000))
    with path.open("rb") as stdin:
        process = subprocess.Popen(
            command("target-workato-streams", "--config", target_config(**settings)),
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )

        def read() -> int:
            return os.lseek(stdin.fileno(), 0, os.SEEK_CUR)  # the process shares the descriptor

        def has_paused() -> bool:
            before = read()
            time.sleep(0.5)
            return before == read()

        with killed_at_end(process):
            eventually(lambda: emulator.payloads(topic), "the record of the other topic")
            eventually(lambda: read() > 30_000_000 and has_paused(), "a pause in reading")
            assert read() < 40_000_000
