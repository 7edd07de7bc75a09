"""The rate limiter and the retries, shown by a clock that need not wait."""

import contextlib
import random
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Thread
from types import SimpleNamespace

import pytest
from tap_workato_streams.event_streams import quota, rate_limiter
from tap_workato_streams.event_streams import session as retry
from tap_workato_streams.event_streams.errors import GaveUp, Stopped, Unavailable
from tap_workato_streams.event_streams.rate_limiter import RateLimiter
from tap_workato_streams.event_streams.session import LONGEST_WAIT_SECS, RetryPolicy
from target_workato_streams.publishing import rejections
from target_workato_streams.publishing.rejections import EntryRetries

from tests.support.running import eventually


def intervals(*times: float) -> list[float]:
    """The seconds from each time to the next, without what sums of binary fractions add to it."""
    return [round(later - earlier, 6) for earlier, later in pairwise(times)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a wait advances at once: minutes pass in no time, in tests of one thread."""
    clock = SimpleNamespace(now=1_000.0)
    clock.monotonic = lambda: clock.now

    class Condition(threading.Condition().__class__):  # type: ignore[misc]
        def wait(self, timeout: float | None = None) -> bool:
            clock.now += timeout or 0.0
            return True

    for module in (rate_limiter, quota, retry):
        monkeypatch.setattr(module, "time", clock)
    for module in (rate_limiter, retry):
        monkeypatch.setattr(module, "random", random.Random(1))  # noqa: S311 - no secret
    monkeypatch.setattr(rate_limiter, "threading", SimpleNamespace(Condition=Condition))
    return clock


def rate_limited(limiter: RateLimiter, retry_after: float | None = None) -> None:
    """A request that the service rate limits."""
    with pytest.raises(Unavailable), limiter.acquire():
        raise Unavailable("over quota", status=429, retry_after=retry_after)


def failed(limiter: RateLimiter, sent: Callable[[], None]) -> None:
    """A request that fails for another reason; `sent` is called when it is admitted."""
    with contextlib.suppress(Unavailable), limiter.acquire():
        sent()
        raise Unavailable("bad gateway", status=502)


def succeeded(limiter: RateLimiter, clock: SimpleNamespace) -> float:
    """A request that succeeds; return the time at which it was admitted."""
    with limiter.acquire():
        return float(clock.now)


@pytest.mark.parametrize("limit", [1, 7, 60])
def test_no_minute_ever_has_more_requests_than_the_setting_says(clock, limit):
    """Requests come in bursts or spread out; all of the quota is used, from the first one on."""
    chance = random.Random(limit)  # noqa: S311 - no secret
    limiter = RateLimiter(limit)
    sent = [succeeded(limiter, clock) for _ in range(limit)]
    assert set(sent) == {1_000.0}
    for _ in range(limit * 5):
        if chance.random() < 0.2:
            clock.now += chance.uniform(0, 60 / limit)
        sent.append(succeeded(limiter, clock))
        if chance.random() < 0.1:
            failed(limiter, lambda: sent.append(clock.now))
    for n in range(len(sent) - limit):
        assert sent[n + limit] - sent[n] > 60
    assert sent[-1] - sent[0] < 63 * (len(sent) / limit + 1)


def test_a_429_pauses_as_long_as_the_service_asks(clock):
    limiter = RateLimiter()
    for secs in (0.5, 5, 40, 90):
        began = clock.now
        rate_limited(limiter, secs)
        [pause] = intervals(began, succeeded(limiter, clock))
        assert secs <= pause <= secs * 1.1 + 1.1


def test_a_pause_grows_with_each_429_if_the_service_names_no_time(clock):
    limiter = RateLimiter()
    at = []
    for _ in range(9):
        rate_limited(limiter)
        at.append(clock.now)
    for n, pause in enumerate(intervals(*at)):
        longest = min(60.0, 2.0**n)
        assert longest / 2 <= pause <= longest + rate_limiter.CAREFUL_SECS
    began = succeeded(limiter, clock)
    rate_limited(limiter)
    assert intervals(began, succeeded(limiter, clock))[0] <= 1.0


def test_requests_are_admitted_in_the_order_in_which_they_ask(monkeypatch):
    monkeypatch.setattr(rate_limiter, "CAREFUL_SECS", 0.05)
    limiter = RateLimiter()
    rate_limited(limiter, 3_600)
    served: list[int] = []

    def ask(number: int) -> None:
        # A failure other than a 429 keeps the limiter careful: the requests stay apart.
        failed(limiter, lambda: served.append(number))

    threads = [Thread(target=ask, args=(number,)) for number in range(6)]
    queue = limiter._queue  # noqa: SLF001 - only the queue shows which threads have asked
    for thread in threads:
        thread.start()
        eventually(lambda: len(queue) == sum(map(Thread.is_alive, threads)), "the queue to grow")
    assert served == []
    with limiter._changed:  # noqa: SLF001 - the pause is over
        limiter._not_before = 0.0  # noqa: SLF001
        limiter._changed.notify_all()  # noqa: SLF001
    for thread in threads:
        thread.join()
    assert served == [0, 1, 2, 3, 4, 5]


def test_a_stop_wakes_all_waiting_requests():
    """However long the pause is, and the time that the service asked to wait before a retry."""
    limiter = RateLimiter()
    attempted = threading.Event()

    def request() -> None:
        attempted.set()
        raise Unavailable("unavailable", status=503, retry_after=600)

    def ask() -> None:
        with pytest.raises(Stopped):
            RetryPolicy(limiter, 3_600).call(request)

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(ask)]
        assert attempted.wait(10)
        rate_limited(limiter, 3_600)
        attempted.clear()
        asked += [threads.submit(ask) for _ in range(3)]
        limiter.stop()
        for each in asked:
            each.result(10)
    ask()
    assert not attempted.is_set()


def test_waiting_for_max_requests_per_minute_does_not_count_as_retrying(clock):
    """A limit of one per minute does not use up `max_retry_secs`."""
    attempts: list[float] = []

    def request() -> str:
        attempts.append(clock.now)
        if len(attempts) < 4:
            raise Unavailable("reset by peer")
        return "response"

    assert RetryPolicy(RateLimiter(1), 30).call(request) == "response"
    assert min(intervals(*attempts)) > 60


def test_retries_end_after_max_retry_secs_of_attempts_and_waits(clock, caplog):
    def request() -> None:
        clock.now += 1.0
        raise Unavailable("bad gateway", status=502)

    began = clock.now
    with pytest.raises(Unavailable, match=r"gave up after .* \(max_retry_secs is 300\)"):
        RetryPolicy(RateLimiter(), 300).call(request)
    waits = logged_waits(caplog)
    # The first attempt, which takes a second, is no retry.
    assert 301 <= intervals(began, clock.now)[0] <= 303
    assert max(waits) <= LONGEST_WAIT_SECS
    for n, wait in enumerate(waits):
        assert 0 <= wait <= 0.5 * 2**n
    assert len(set(waits[3:])) > 3


@pytest.mark.parametrize("retry_after", [None, 3.0])
def test_the_wait_that_is_logged_is_the_wait_before_the_next_attempt(clock, caplog, retry_after):
    """This includes a 429, after which the rate limiter determines the pause."""
    at: list[float] = []

    def request() -> None:
        at.append(clock.now)
        if len(at) < 6:
            raise Unavailable("over quota", status=429, retry_after=retry_after)

    RetryPolicy(RateLimiter(), 300).call(request)
    assert logged_waits(caplog) == pytest.approx(intervals(*at), abs=0.06)


@pytest.mark.parametrize("max_retry_secs", [0, 1, 5, 20])
@pytest.mark.parametrize("status", [429, 503])
def test_max_retry_secs_bounds_the_time_of_all_retries(clock, status, max_retry_secs):
    limiter = RateLimiter()
    began = clock.now

    def request() -> None:
        # Another topic is rate limited in the meantime.
        limiter._pause(None, clock.now)  # noqa: SLF001
        raise Unavailable("no", status=status)

    with pytest.raises(GaveUp):
        RetryPolicy(limiter, max_retry_secs).call(request)
    assert intervals(began, clock.now)[0] <= max_retry_secs


def test_pauses_before_the_last_success_do_not_count_as_retrying(clock, monkeypatch):
    """Otherwise, a topic would give up although the service responds to the others."""
    limiter, in_flight, waits = RateLimiter(), contextlib.ExitStack(), []
    in_flight.enter_context(limiter.acquire())
    rate_limited(limiter, 8)

    def wait(secs: float) -> None:
        clock.now += secs
        waits.append(secs)
        if len(waits) == 1:
            in_flight.close()  # the request of another topic succeeds, and its next one does not
            limiter._pause(8, clock.now)  # noqa: SLF001

    monkeypatch.setattr(limiter._changed, "wait", wait)  # noqa: SLF001
    with limiter.acquire(max_pause_secs=10) as paused:
        assert paused < 10
    assert sum(waits) > 16


def test_a_request_that_another_one_needs_is_not_retried_for_longer(clock):
    """Retries within retries do not multiply."""
    policy = RetryPolicy(RateLimiter(), 60)
    attempts: list[float] = []

    def inner() -> None:
        attempts.append(clock.now)
        raise Unavailable("no", status=503)

    with pytest.raises(GaveUp):
        policy.call(lambda: policy.call(inner))
    assert intervals(attempts[0], clock.now)[0] <= 60


def logged_waits(caplog: pytest.LogCaptureFixture) -> list[float]:
    """The waits that the log announces."""
    return [float(re.findall(r"retrying in ([\d.]+) s", line)[0]) for line in caplog.messages]


@pytest.mark.parametrize(
    ("max_retry_secs", "secs", "is_retried"),
    [(300, 9.9, True), (300, 10.0, False), (2, 1.9, True), (2, 2.0, False)],
)
def test_a_failed_entry_is_retried_for_ten_seconds(monkeypatch, max_retry_secs, secs, is_retried):
    """The time starts with its first failure; a shorter `max_retry_secs` takes precedence."""
    monkeypatch.setattr(rejections, "time", SimpleNamespace(monotonic=lambda: 100.0 + secs))
    retries = EntryRetries(max_retry_secs)
    assert retries.record_failure("temporarily unavailable", 100.0, 7) is is_retried
