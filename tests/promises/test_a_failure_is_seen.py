"""A target that has failed reads on for a moment, so that the tap's failure does not hide its own.

If the pipe broke, Meltano would log a hundred lines about it: tests/pipelines/test_meltano.py.
"""

import signal
import subprocess
import threading
from contextlib import suppress

import pytest

from tests.support.executables import command, environment
from tests.support.injection import injected
from tests.support.running import eventually, killed_at_end
from tests.support.singer_lines import lines, orders, schema, state

# More than a pipe holds.
MUCH = lines(*orders(500, size=1_000))
FAILURES = {
    "an invalid setting": ({"batch_size_rows": 0}, b"", "batch_size_rows"),
    "an invalid line": ({}, b"{]\n", "line 2 of the input"),
    "a rejected token": ({"api_token": "wrong"}, MUCH + lines(state(1)), "HTTP 401"),
}


@pytest.mark.parametrize(("settings", "fed", "error"), FAILURES.values(), ids=FAILURES)
def test_the_input_is_read_to_its_end_after_a_failure(start_target, settings, fed, error):
    """The error is logged at once and stays the last line; the tap can write until it ends."""
    target = start_target(**settings)
    target.feed_bytes(lines(schema()) + fed)
    eventually(lambda: error in target.stderr, "the error")
    # Each blocks until it has been read, and would raise BrokenPipeError if the target had exited.
    for _ in range(3):
        target.feed_bytes(MUCH)
    target.close_input()
    ended = target.end()
    assert ended.exit_code == 1
    assert error in "".join(ended.error_lines)
    assert ended.stderr.splitlines()[-1] == ended.error_lines[-1]


def test_an_input_without_an_end_does_not_keep_a_failed_target_alive(start_target):
    """Neither one that is always readable, nor one that is idle."""
    busy, idle = start_target(), start_target()
    idle.feed(b"{]")

    def feed_on() -> None:
        with suppress(BrokenPipeError):
            while True:
                busy.feed_bytes(b"{]\n" * 10_000)

    feeder = threading.Thread(target=feed_on)
    feeder.start()
    for target in (busy, idle):
        ended = target.end()
        assert ended.exit_code == 1
        assert "line 1 of the input" in ended.stderr.splitlines()[-1]
    feeder.join()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_failed_target_at_once(start_target, signum):
    target = start_target()
    target.feed(b"{]")
    eventually(lambda: "line 1 of the input" in target.stderr, "the error")
    # The input is read only after the error was logged.
    target.feed_bytes(MUCH)
    target.send(signum)
    assert target.end().exit_code == -signum


def test_only_a_pipe_is_read_on(target_config, tmp_path):
    """A file has no writer that could fail, and may be large."""
    path = tmp_path / "input"
    path.write_bytes(b"{]\n" + MUCH * 2)
    arguments = command("target-workato-streams", "--config", target_config())
    with path.open("rb") as source:
        process = subprocess.Popen(arguments, stdin=source, stderr=subprocess.DEVNULL)
        with killed_at_end(process):
            assert process.wait(30) == 1
        assert source.tell() < path.stat().st_size


def test_a_closed_stdin_is_not_read_on(target_config, tmp_path):
    """Another pipe of the process may have got its descriptor."""
    forever = "import target_workato_streams.stdin_reader as s\ns.DISCARD_SECS = 600"
    arguments = command("target-workato-streams", "--config", target_config())
    with killed_at_end(
        subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *arguments],
            env=environment(**injected(tmp_path / "injected", forever)),
            stderr=subprocess.PIPE,
        )
    ) as process:
        assert b"stdin is closed" in process.communicate(timeout=30)[1]
        assert process.returncode == 1
