"""Imports point in one direction, and the code that both connectors share exists once."""

import pytest

from tests.tools.imports import PACKAGES, between_folders, cycle, import_graph

SHARED = {"event_streams", "plugin"}
# The folders that each folder of the tap may import from, apart from the shared ones.
TAP = {
    "records": set[str](),
    "reading": {"settings"},
    "discovery": {"reading", "records", "settings"},
    "output": {"reading"},
}
TARGET = {
    "singer_messages": set[str](),
    "state": {"singer_messages"},
    "message_key": {"singer_messages"},
    "delivery": {"message_key"},
    "publishing": {"singer_messages", "state", "message_key", "delivery"},
    "routing": {"publishing"},
}
DIRECTIONS = {"tap_workato_streams": TAP, "target_workato_streams": TARGET}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_in_one_direction(package):
    """Imports for the type checker count, too. For example, output may import reading."""
    modules = import_graph(package)
    folders = between_folders(modules)
    assert cycle(modules) is None
    assert cycle(folders) is None
    assert folders["event_streams"] == set()
    assert folders["plugin"] <= {"event_streams"}
    for folder, allowed in DIRECTIONS[package].items():
        assert folders[folder] - SHARED - {""} <= allowed, folder


@pytest.mark.parametrize("folder", sorted(SHARED))
def test_shared_code_exists_once(folder):
    link = PACKAGES["target_workato_streams"] / folder
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == PACKAGES["tap_workato_streams"] / folder


def test_a_cycle_is_found():
    """Without this test, the others would pass even if cycles were never detected."""
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
