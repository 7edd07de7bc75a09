"""The lines about progress: how far a topic is and when it will be done, by the test's clock."""

import logging
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace

import pytest
from tap_workato_streams.event_streams.consume import Message
from tap_workato_streams.event_streams.rate_limiter import RateLimiter
from tap_workato_streams.output.summary import Progress, TopicSummary
from tap_workato_streams.plugin.wording import duration
from tap_workato_streams.reading.bookmarks import Page, Topic
from target_workato_streams.event_streams.rate_limiter import RateLimiter as TargetRateLimiter
from target_workato_streams.publishing.summary import Summary, Tally

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
        self.limiter = RateLimiter(1)
        self.progress = Progress(self.summaries, self.limiter, tail=tail)

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


def test_durations_are_written_in_two_units():
    texts = [duration(secs) for secs in (0, 89.4, 90, 3_540, 3_600, 12_000, 187_200)]
    assert texts == ["0 s", "89 s", "2 min", "59 min", "1 h 0 min", "3 h 20 min", "2 d 4 h"]


def test_a_long_run_logs_a_progress_line_per_minute(monkeypatch, caplog):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    tallies = {"a": Tally(published=3, requests=1), "b": Tally(published=4, requests=2)}
    reporter = Summary(lambda: tallies, TargetRateLimiter())
    with caplog.at_level(logging.INFO, "target-workato-streams"):
        for clock.now in (1059.0, 1060.0, 1061.0, 1119.0, 1121.0):
            reporter.report_if_due()
    first, second = caplog.messages
    assert first.startswith("After 60 s: ")
    assert "7 published" in first
    assert "3 requests" in first
    assert second.startswith("After 121 s: ")
