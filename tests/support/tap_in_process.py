"""Run the tap in the test's own process: no start-up, so a test can have many runs."""

import contextlib
import io
from typing import Any

import pytest
from tap_workato_streams.tap import TapWorkatoStreams
from workato_streams_emulator import Emulator

from tests.support.executables import Outcome


def read(
    emulator: Emulator,
    *,
    state: object = None,
    catalog: object = None,
    **config: Any,  # noqa: ANN401 - settings are JSON
) -> Outcome:
    """Run the tap against the emulator; errors are raised, and logs are left to `caplog`."""
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, write_through=True)
    with contextlib.redirect_stdout(stdout):
        _tap(emulator, config, state=state, catalog=catalog).sync_all()
        return Outcome(0, written.getvalue(), "")


def discover(emulator: Emulator, **config: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the catalog that the tap discovers."""
    return _tap(emulator, config, setup_mapper=False).catalog_dict


def _tap(emulator: Emulator, config: dict[str, Any], **options: Any) -> TapWorkatoStreams:  # noqa: ANN401
    config = {"api_url": emulator.url, "api_token": emulator.token, **config}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TapWorkatoStreams, "_setup_signal_handlers", lambda _self: None)
        return TapWorkatoStreams(config=config, **options)
