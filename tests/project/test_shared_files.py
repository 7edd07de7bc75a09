"""Code that both connectors share exists once, and depends on neither of them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.project.docs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAP = ROOT / "tap-workato-streams" / "tap_workato_streams"
TARGET = ROOT / "target-workato-streams" / "target_workato_streams"
SHARED = ["event_streams", "plugin"]
FILES = [path for folder in SHARED for path in sorted((TAP / folder).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Yield the absolute name of each module that a file of the tap imports."""
    package = ["tap_workato_streams", *path.relative_to(TAP).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            yield ".".join([*base, *filter(None, [node.module])])


@pytest.mark.parametrize("folder", SHARED)
def test_shared_code_exists_once(folder: str) -> None:
    """The target's folder is a relative symbolic link to the tap's folder."""
    link = TARGET / folder
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == TAP / folder


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shared_code_imports_nothing_outside_its_folders(path: Path) -> None:
    """Other code would be missing from one package; `event_streams` does not import `plugin`."""
    allowed = SHARED if path.is_relative_to(TAP / "plugin") else ["event_streams"]
    for module in imported(path):
        if module.startswith("target_workato_streams") or module == "tap_workato_streams":
            pytest.fail(f"imports {module}")
        if module.startswith("tap_workato_streams."):
            assert module.split(".")[1] in allowed, module
