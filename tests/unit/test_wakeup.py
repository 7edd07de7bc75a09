"""No call of a worker is lost, at whatever moment it is made."""

import os
import select
from contextlib import closing

import pytest
from target_workato_streams.publishing.wakeup import Wakeup


@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.parametrize("moment", ["before the read", "after the read"])
def test_a_call_while_calls_are_cleared_does_not_hide_later_calls(
    monkeypatch, moment, called_before
):
    """The main thread checks after clearing; the next call has to wake it."""
    read = os.read
    with closing(Wakeup()) as wakeup:
        if called_before:
            wakeup.call()

        def interrupted(descriptor: int, count: int) -> bytes:
            if moment == "before the read":
                wakeup.call()
            try:
                return read(descriptor, count)
            finally:
                if moment == "after the read":
                    wakeup.call()

        with monkeypatch.context() as patched:
            patched.setattr(os, "read", interrupted)
            wakeup.clear()
        wakeup.call()
        assert select.select([wakeup._reader], [], [], 0)[0]  # noqa: SLF001 - or it would wait


def test_a_call_after_closing_does_nothing():
    wakeup = Wakeup()
    wakeup.close()
    wakeup.call()
