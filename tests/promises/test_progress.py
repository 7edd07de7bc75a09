"""The log says how far each topic is, how far behind, and when its backlog will be done."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from tests.support.executables import TIMEOUT_SECS, command, environment
from tests.support.injection import REFUSED_ONCE, injected
from tests.support.running import eventually, killed_at_end
from tests.support.singer_lines import lines, orders, record, schema


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


def test_a_terminal_shows_a_progress_bar_of_the_tap_instead(emulator, tap_config):
    """Log lines scroll above it."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(20)])
    emulator.configure(latency_secs=0.1)
    config = tap_config(topics=[topic], batch_size=1)
    shown = on_a_terminal(*command("tap-workato-streams", "--config", config))
    assert "1 topic: " in shown
    # One estimate, and no comma without a text before it.
    assert "|," not in shown
    assert "<" not in shown
    assert re.search(r"%\|[^|]*\| \[00:0\d\], \d+ messages? \(", shown)
    assert "topic_1 (topic 1): 20 messages, 21 requests" in shown


def test_a_terminal_shows_a_progress_bar_of_the_target_instead(emulator, target_config):
    emulator.configure(latency_secs=0.2)
    line = command("target-workato-streams", "--config", target_config(batch_size_rows=1))
    shown = on_a_terminal(*line, stdin=lines(schema(), *orders(10)))
    assert "publishing: " in shown
    assert " messages [" in shown
    assert "10 published" in shown


def test_each_topic_has_one_summary_line_and_batches_have_none(emulator, topic, run_target):
    other = emulator.create_topic("other")
    emulator.fault("reset_after", topic_id=other)
    settings = {"topics": {"b": other, "orders": topic}, "batch_size_rows": 1}
    done = run_target(schema(), schema("b"), *orders(30), record("b", id=1), **settings)
    first, second = [line for line in done.stderr.splitlines() if " published, " in line]
    size = sum(len(b'{"payloads":[{"id": %d}]}' % number) for number in range(30))
    counts = "30 published, 0 dead letters, 0 resent, 0 possibly duplicated, 30 requests"
    assert f"orders (topic {topic}): {counts}, {size} bytes" in first
    counts = "1 published, 0 dead letters, 1 resent, 1 possibly duplicated, 2 requests"
    assert f"b (topic {other}): {counts}" in second
    assert len(done.stderr.splitlines()) < 12


# The interval of log lines is a second instead of a minute.
OFTEN = """
    from {} import monitoring
    interval = monitoring.Interval
    monitoring.Interval = lambda secs: interval(1.0 if secs == 60 else secs)
"""


def test_a_run_that_waits_for_its_own_limit_says_so(connector, emulator, tmp_path):
    """Otherwise, the same figures would be repeated, without a reason."""
    emulator.create_topic("orders", id=1)
    emulator.load(1, [{"n": n} for n in range(3)])
    if connector.input:
        connector = replace(connector, input=lines(schema(), *orders(3)))
    module = connector.name.replace("-", "_") + ".plugin"
    settings = {"api_token": emulator.token, "max_requests_per_minute": 1}
    env = injected(tmp_path / "site", OFTEN.format(module))
    running = connector.start(emulator.url, env=env, batch_size=1, batch_size_rows=1, **settings)
    words = re.compile(
        r"1 (message|published).*, waiting for the quota: the next request in \d\d s\n"
    )
    with ExitStack() as stack:
        stack.callback(running.kill)
        eventually(lambda: words.search(running.stderr), "the reason")


def test_a_refused_connection_is_no_request(connector, emulator, tmp_path):
    """The summary counts what has left the machine."""
    emulator.create_topic("orders", id=1)
    env = injected(tmp_path / "site", REFUSED_ONCE)
    outcome = connector.run(emulator.url, env=env, api_token=emulator.token)
    assert outcome.exit_code == 0, outcome.stderr
    assert "Connection refused" in outcome.stderr
    [request] = emulator.requests()
    [line] = [line for line in outcome.stderr.splitlines() if " 1 request, " in line]
    assert not connector.input or f", {len(request.body)} bytes, " in line
