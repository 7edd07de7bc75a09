"""The log says how far each topic is, how far behind, and when its backlog will be done."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from tap_workato_streams.event_streams.consume import Message
from tap_workato_streams.output.summary import Progress, TopicSummary
from tap_workato_streams.plugin.wording import duration
from tap_workato_streams.reading.bookmarks import Page, Topic
from target_workato_streams.publishing.summary import Summary, Tally

from tests.support.executables import TIMEOUT_SECS, command, environment
from tests.support.running import killed_at_end
from tests.support.singer_lines import lines, orders, record, schema

START = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


class Run:
    """A run whose clock the test sets, with pages of messages of any age."""

    def __init__(self, patch: pytest.MonkeyPatch, topics: int, *, tail: bool) -> None:
        self.secs = 0.0
        patch.setattr("time.monotonic", lambda: self.secs)
        self.client = SimpleNamespace(requests=3, polls_since=0.0, failure=None)
        topic = partial(Topic, start_from="earliest")
        self.summaries = [
            TopicSummary(topic(n, f"t{n}"), None, self.client)  # type: ignore[arg-type]
            for n in range(topics)
        ]
        self.progress = Progress(self.summaries, tail=tail)

    def read(self, topic: int, messages: int, behind_secs: float, after: float = 0) -> None:
        """Let time pass, and read messages of a topic, the newest of which is this far behind."""
        self.secs += after
        now = START + timedelta(seconds=self.secs)
        time = (now - timedelta(seconds=behind_secs)).isoformat()
        page = [Message(str(n), b"{}", time) for n in range(messages)]  # type: ignore[arg-type]
        self.summaries[topic].add(Page(page, now, is_last=not page))

    def lines(self, caplog: pytest.LogCaptureFixture, after: float = 0) -> list[str]:
        """Let time pass, and return what is logged then."""
        self.secs += after
        caplog.clear()
        caplog.set_level("INFO")
        self.progress.report_if_due()
        return caplog.messages


def test_each_active_topic_has_a_line_per_minute(monkeypatch, caplog):
    run = Run(monkeypatch, 3, tail=False)
    run.read(0, 1, behind_secs=7_200)
    run.read(1, 10, behind_secs=5)
    assert run.lines(caplog, 59) == []
    run.read(0, 599, behind_secs=3_600 + 60, after=1)
    assert run.lines(caplog) == [
        (
            "t0 (topic 0): 600 messages (10.0/s), newest from 2026-01-31T11:00:00+00:00, "
            "1 h 1 min behind, done in about 60 s"
        ),
        (
            "t1 (topic 1): 10 messages (0.2/s), newest from 2026-01-31T11:59:55+00:00, "
            "65 s behind, not catching up"
        ),
        "3 topics: 610 messages (10.2/s), t0 1 h 1 min behind, done in about 60 s",
    ]
    assert run.lines(caplog, 59) == []
    # In a minute, another half hour of messages.
    run.read(0, 600, behind_secs=1_800 + 120, after=1)
    assert run.lines(caplog) == [
        (
            "t0 (topic 0): 1200 messages (10.0/s), newest from 2026-01-31T11:30:00+00:00, "
            "32 min behind, done in about 60 s"
        ),
    ]


def test_in_tail_mode_new_messages_count_in_the_remaining_time(monkeypatch, caplog):
    """A topic that is read more slowly than it grows is never done."""
    run = Run(monkeypatch, 1, tail=True)
    run.read(0, 1, behind_secs=7_200)
    run.lines(caplog, 60)
    run.read(0, 60, behind_secs=7_260, after=60)
    [line] = run.lines(caplog)
    assert line.endswith("2 h 1 min behind, not catching up")
    run.read(0, 60, behind_secs=3_660, after=60)
    [line] = run.lines(caplog)
    assert line.endswith("1 h 1 min behind, done in about 61 s")


def test_a_topic_that_was_read_to_its_end_is_not_behind(monkeypatch, caplog):
    """Its newest message may be days old."""
    run = Run(monkeypatch, 2, tail=True)
    for topic in range(2):
        run.read(topic, 1, behind_secs=2 * 86_400)
    assert "2 d 0 h behind" in run.lines(caplog, 60)[0]
    run.secs += 60
    for topic in range(2):
        run.read(topic, 1, behind_secs=2 * 86_400)
    run.read(0, 0, behind_secs=0)
    newest = "newest from 2026-01-29T12:02:00+00:00"
    assert run.lines(caplog) == [
        f"t1 (topic 1): 2 messages (0.0/s), {newest}, 2 d 0 h behind, done in about 2 d 0 h",
        f"t0 (topic 0): 2 messages (0.0/s), {newest}, read to the end",
        "2 topics: 4 messages (0.0/s), t1 2 d 0 h behind, done in about 2 d 0 h",
    ]
    caplog.clear()
    run.summaries[0].log()
    line = f"t0 (topic 0): 2 messages, 3 requests, 120.0 s, {newest}, read to the end"
    assert caplog.messages[-1] == line


def test_a_page_that_a_limit_cuts_is_not_the_end(monkeypatch):
    """The lag is that of the last message that was written, or unknown."""
    run = Run(monkeypatch, 1, tail=False)
    page = Page([Message("1", b"{}", START.isoformat())], START + timedelta(hours=1))  # type: ignore[arg-type]
    lags = []
    for each in (page.first(0), page, page.first(0), Page([], START, is_last=True)):
        run.summaries[0].add(each)
        lags.append(run.summaries[0].lag_secs)
    assert lags == [None, 3_600, 3_600, 0]


def test_of_many_topics_the_slowest_and_a_total_are_logged(monkeypatch, caplog):
    run = Run(monkeypatch, 100, tail=True)
    for topic in range(100):
        run.read(topic, 1, behind_secs=topic * 60)
    lines = run.lines(caplog, 60)
    assert [line.split(": ")[0] for line in lines] == [
        "t99 (topic 99)",
        "t98 (topic 98)",
        "t97 (topic 97)",
        "100 topics",
    ]
    assert lines[-1].startswith("100 topics: 100 messages (1.7/s), t99 1 h 40 min behind")


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


def test_durations_are_written_in_two_units():
    texts = [duration(secs) for secs in (0, 89.4, 90, 3_540, 3_600, 12_000, 187_200)]
    assert texts == ["0 s", "89 s", "2 min", "59 min", "1 h 0 min", "3 h 20 min", "2 d 4 h"]


def test_a_long_run_logs_a_progress_line_per_minute(monkeypatch, caplog):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    tallies = {"a": Tally(published=3, requests=1), "b": Tally(published=4, requests=2)}
    reporter = Summary(lambda: tallies)
    with caplog.at_level(logging.INFO, "target-workato-streams"):
        for clock.now in (1059.0, 1060.0, 1061.0, 1119.0, 1121.0):
            reporter.report_if_due()
    first, second = caplog.messages
    assert first.startswith("After 60 s: ")
    assert "7 published" in first
    assert "3 requests" in first
    assert second.startswith("After 121 s: ")


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
