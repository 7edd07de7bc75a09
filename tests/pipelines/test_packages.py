"""Each connector is a separate package that can be installed from an index, a folder or git."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tap_workato_streams.plugin.version import __version__
from uv import find_uv_bin

from tests.tools.demo.project import copy_sources
from tests.tools.docs import ROOT, address

pytestmark = pytest.mark.timeout(600)

NAMES = ["tap-workato-streams", "target-workato-streams"]
CONNECTORS = pytest.mark.parametrize("name", NAMES)
SHARED = ["event_streams/session.py", "plugin/command.py"]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside of this virtual environment, and return its stdout."""
    kept = {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The wheel and the sdist of each connector, built from the working tree."""
    built = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        # Building the wheel from the sdist shows that the sdist is complete.
        run(find_uv_bin(), "build", "--out-dir", folder, ROOT / name, cwd=folder)
        [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
        built[name] = wheel, sdist
    return built


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree as a git repository, with its symbolic links."""
    folder = tmp_path_factory.mktemp("repository")
    for name in NAMES:
        copy_sources(ROOT / name, folder / name)
    # Each sdist contains it.
    shutil.copy(ROOT / "CHANGELOG.md", folder)
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    commit = ("-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "All")
    run("git", *identity, *commit, cwd=folder)
    return folder


@CONNECTORS
def test_packages_contain_license_typed_marker_shared_code_and_version(name, packages):
    """The version of both is in one file, which is shared."""
    wheel, sdist = packages[name]
    package = name.replace("-", "_")
    version = wheel.name.split("-")[1]
    assert version == __version__
    files = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{package}/{file}" for file in [*SHARED, "py.typed"]} <= files
    assert any(file.endswith("/licenses/LICENSE") for file in files)
    assert {file.split("/")[0] for file in files} == {package, f"{package}-{version}.dist-info"}
    with tarfile.open(sdist) as archive:
        members = {member.name: member for member in archive.getmembers()}
    root = f"{package}-{version}"
    for file in [f"{package}/{file}" for file in SHARED] + ["LICENSE", "README.md", "CHANGELOG.md"]:
        # A link that points outside of the archive would be broken.
        assert members[f"{root}/{file}"].isfile()


def test_packages_pass_twine_check(packages, tmp_path):
    twine = [sys.executable, "-m", "twine", "--no-color", "check", "--strict"]
    assert "FAILED" not in run(*twine, *itertools.chain(*packages.values()), cwd=tmp_path)


@CONNECTORS
def test_links_of_a_package_lead_to_the_repository(name, packages):
    """A package index shows the README outside of the repository, where links must be absolute."""
    [metadata] = [file for file in zipfile.Path(packages[name][0]).iterdir() if "info" in file.name]
    page = (metadata / "METADATA").read_text(encoding="utf-8")
    links = re.findall(r"\]\((\S+?)\)", page)
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    ours = [link for link in links if link.startswith(address())]
    assert ours
    for link in ours:
        path = link.removeprefix(f"{address()}/blob/main/").partition("#")[0]
        assert (ROOT / path).is_file(), link


@CONNECTORS
@pytest.mark.parametrize("source", ["wheel", "sdist", "path", "git"])
def test_a_connector_installs_without_the_other(name, source, packages, repository, tmp_path):
    wheel, sdist = packages[name]
    requirement = {
        "wheel": str(wheel),
        "sdist": str(sdist),
        "path": str(ROOT / name),
        "git": f"{name} @ git+file://{repository}#subdirectory={name}",
    }[source]
    run(find_uv_bin(), "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(find_uv_bin(), "pip", "install", "--python", python, requirement, cwd=tmp_path)
    about = json.loads(run(python.with_name(name), "--about", "--format=json", cwd=tmp_path))
    assert about["name"] == name
    assert __version__ in run(python, "-m", name.replace("-", "_"), "--version", cwd=tmp_path)
    [other] = {*NAMES} - {name}
    installed = run(find_uv_bin(), "pip", "list", "--python", python, cwd=tmp_path)
    assert other not in installed
