"""Run the tap in the test's own process: no start-up, so a test can have many runs."""

from __future__ import annotations

import contextlib
import io
import signal
from typing import TYPE_CHECKING, Any

from tap_workato_streams.tap import TapWorkatoStreams

from tests.support.executables import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workato_streams_emulator import Emulator


@contextlib.contextmanager
def signals_restored() -> Iterator[None]:
    """Restore the signal handlers that a tap replaces."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def read(
    emulator: Emulator,
    *,
    state: object = None,
    catalog: object = None,
    **config: Any,  # noqa: ANN401 - settings are JSON
) -> Outcome:
    """Run the tap against the emulator; errors are raised, and logs are left to `caplog`."""
    written = io.BytesIO()
    config = {"api_url": emulator.url, "api_token": emulator.token, **config}
    stdout = io.TextIOWrapper(written, write_through=True)
    with signals_restored(), contextlib.redirect_stdout(stdout):
        TapWorkatoStreams(config=config, state=state, catalog=catalog).sync_all()
        return Outcome(0, written.getvalue(), "")


def discover(emulator: Emulator, **config: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the catalog that the tap discovers."""
    config = {"api_url": emulator.url, "api_token": emulator.token, **config}
    with signals_restored():
        return TapWorkatoStreams(config=config, setup_mapper=False).catalog_dict
