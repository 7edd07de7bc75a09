"""The few files that both connectors have are the same file."""

from __future__ import annotations

import pytest

from tests.pair.docs import ROOT

ALIKE = [
    "checking.py",
    "command.py",
    "connection.py",
    "errors.py",
    "pacing.py",
    "retrying.py",
    "settings.py",
]


@pytest.mark.parametrize("name", ALIKE)
def test_a_file_of_both_connectors_is_alike(name: str) -> None:
    """Who changes one changes the other: they are installed apart, and cannot share a module."""
    tap = ROOT / "tap-workato-streams" / "tap_workato_streams" / name
    target = ROOT / "target-workato-streams" / "target_workato_streams" / name
    assert tap.read_bytes() == target.read_bytes()
