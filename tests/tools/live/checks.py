"""All checks, run one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import requests

from tests.tools.live import consume_checks, publish_checks
from tests.tools.live.api import Api
from tests.tools.live.description import description
from tests.tools.live.finding import Finding

Check = Callable[[Api], Finding | Sequence[Finding]]


def run(api: Api, *, use_up_quota: bool, pause_secs: float = 0.0) -> Iterator[Finding]:
    """Yield the finding of each check, including checks that failed with an error.

    Args:
        api: The topic to use.
        use_up_quota: Whether to send requests until one is rate limited.
        pause_secs: The pause before each check, to stay within a small quota.
    """
    checks: list[Check] = [description, *consume_checks.CHECKS, *publish_checks.CHECKS]
    if use_up_quota:
        checks.append(publish_checks.quota)
    for check in checks:
        time.sleep(pause_secs)
        try:
            found = check(api)
            yield from [found] if isinstance(found, Finding) else found
        except requests.RequestException as exc:
            title = check.__name__.replace("_", " ")
            # Only the status is shown, because the body may contain anything.
            status = exc.response.status_code if exc.response is not None else type(exc).__name__
            yield Finding(title, "can be checked", f"failed with {status}", same=False)
