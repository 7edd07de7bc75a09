"""Imports point in one direction, and the code that both connectors share exists once."""

import pytest

from tests.tools.imports import PACKAGES, between_folders, cycle, import_graph

SHARED = {"event_streams", "plugin"}
# The folders that each folder of the tap may import from, apart from the shared ones.
TAP = {
    "records": set[str](),
    "reading": {"settings"},
    "discovery": {"reading", "records"},
    "output": {"reading"},
}
TARGET = {
    "input": set[str](),
    "state": {"input"},
    "message_key": {"input"},
    "exactly_once": {"message_key"},
    "publishing": {"input", "state", "message_key", "exactly_once"},
    "routing": {"publishing"},
}
DIRECTIONS = {"tap_workato_streams": TAP, "target_workato_streams": TARGET}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_have_no_cycles(package):
    """Imports for the type checker count, too; a folder does not import those that use it."""
    modules = import_graph(package)
    assert cycle(modules) is None
    assert cycle(between_folders(modules)) is None


@pytest.mark.parametrize("package", PACKAGES)
def test_each_folder_imports_only_what_is_below_it(package):
    """For example, reading may import output, but not the other way round."""
    folders = between_folders(import_graph(package))
    for folder, allowed in DIRECTIONS[package].items():
        assert folders[folder] - SHARED - {""} <= allowed, folder


@pytest.mark.parametrize("package", PACKAGES)
def test_the_shared_folders_import_nothing_from_a_connector(package):
    """`event_streams` does not depend on `plugin`, nor either of them on the tap or the target."""
    folders = between_folders(import_graph(package))
    assert folders["event_streams"] == set()
    assert folders["plugin"] <= {"event_streams"}


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
