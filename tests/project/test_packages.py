"""Each connector is a distribution of its own."""

from __future__ import annotations

import os
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from tests.project.docs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CONNECTORS = pytest.mark.parametrize("name", ["tap-workato-streams", "target-workato-streams"])


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside of this environment, and give its output."""
    kept = {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@CONNECTORS
def test_a_wheel_holds_the_licence_and_the_typed_marker(name: str, tmp_path: Path) -> None:
    """What tells tools and lawyers what they may do travels with the code; nothing else does."""
    run(find_uv_bin(), "build", "--wheel", "--out-dir", tmp_path, ROOT / name, cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    package = name.replace("-", "_")
    assert f"{package}/py.typed" in files
    assert any(file.endswith("/licenses/LICENSE") for file in files)
    assert {file.split("/")[0] for file in files} == {package, f"{package}-0.1.0.dist-info"}


@CONNECTORS
def test_a_connector_installs_by_itself(name: str, tmp_path: Path) -> None:
    """In an empty environment both its executable and `python -m` tell the version."""
    run(find_uv_bin(), "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(find_uv_bin(), "pip", "install", "--python", python, ROOT / name, cwd=tmp_path)
    assert "0.1.0" in run(python.with_name(name), "--version", cwd=tmp_path)
    assert "0.1.0" in run(python, "-m", name.replace("-", "_"), "--version", cwd=tmp_path)
