"""Run the target in the test's own process, from its input to its output, without start-up."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from target_workato_streams.event_streams import consume
from target_workato_streams.event_streams import session as retry
from target_workato_streams.event_streams.consume import Cursor
from target_workato_streams.event_streams.errors import EventStreamsError
from target_workato_streams.publishing import rejections
from target_workato_streams.publishing.batches import MAX_BODY_BYTES, BatchSettings
from target_workato_streams.target import TargetWorkatoStreams

# The harnesses name no inner modules but those of this file.
__all__ = ["Cursor", "EventStreamsError", "listen"]


def listen(
    source: Iterable[bytes],
    output: object,
    max_batch_bytes: int = MAX_BODY_BYTES,
    **config: Any,  # noqa: ANN401 - settings are JSON
) -> None:
    """Run the target to the end of its input, and write its states to `output`; errors are raised.

    Retries do not wait, an entry is rejected when it has failed three times, and a request may be
    limited to fewer bytes than those of the service.
    """
    make = BatchSettings.from_config
    with pytest.MonkeyPatch.context() as patch:
        limited = staticmethod(lambda config: replace(make(config), max_bytes=max_batch_bytes))
        patch.setattr(BatchSettings, "from_config", limited)
        patch.setattr(rejections, "FIRST_WAIT_SECS", 0)
        patch.setattr(rejections.EntryRetries, "record_failure", lambda *args: args[-1] < 3)
        patch.setattr(retry, "LONGEST_WAIT_SECS", 0)
        patch.setattr(consume, "SECS_BETWEEN_REPEATS", 0)
        patch.setattr(TargetWorkatoStreams, "_setup_signal_handlers", lambda _self: None)
        patch.setattr(sys, "stdout", SimpleNamespace(buffer=output))
        target = TargetWorkatoStreams(
            config={"api_token": "token", "max_retry_secs": 10**6, **config}
        )
        lines: Any = source
        target.listen(lines)
