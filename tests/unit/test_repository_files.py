"""The CI workflows and other files for the code host are valid."""

import re

import pytest
import yaml
from tap_workato_streams.plugin.version import __version__

from tests.tools.changelog import section
from tests.tools.docs import CLONED, ROOT, address

TARGETS = set(
    re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)
FILES = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_yaml_and_run_existing_make_targets(path):
    """A renamed target is noticed before CI fails."""
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    assert set(re.findall(r"run: make ([a-z-]+)", text)) <= TARGETS


def test_ci_runs_on_every_supported_python():
    """The CI matrix, the classifiers and the plugin definitions name the same versions."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    for name in ("tap-workato-streams", "target-workato-streams"):
        text = (ROOT / name / "pyproject.toml").read_text(encoding="utf-8")
        assert re.findall(r"Python :: (3\.\d+)", text) == versions
        definition = yaml.safe_load((ROOT / name / "meltano-hub.yml").read_text(encoding="utf-8"))
        assert definition["supported_python_versions"] == versions


def test_the_notes_of_a_release_are_its_section_of_the_changelog():
    """The release workflow reads it after the steps that CONTRIBUTING.md describes."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="no section"):
        section(__version__, text)
    assert "## [Unreleased]\n" in text
    released = text.replace("[Unreleased]", f"[Unreleased]\n\n## [{__version__}] - 2026-12-01", 1)
    assert "### Added" in section(__version__, released)


def test_the_url_of_the_repository_is_defined_once():
    """`make docs` copies it to the packages and the commands that clone it; it is nowhere else."""
    for path in ROOT.glob("*-workato-streams/*.*"):
        found = re.findall(r"https://github\.com/[^\s/]+/[\w-]+", path.read_text(encoding="utf-8"))
        assert set(found) <= {address()}, path
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
    containing = {page.name for page in pages if address() in page.read_text(encoding="utf-8")}
    assert containing == {page.name for page in CLONED}


def test_contributing_shows_modules_that_exist():
    """A module that is renamed is renamed there, too."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [diagram] = re.findall(r"```text\n(tap .*?)```", text, flags=re.DOTALL)
    tap, target = re.split(r"^target ", diagram, flags=re.MULTILINE)
    for part, name in ((tap[4:], "tap-workato-streams"), (target, "target-workato-streams")):
        package = ROOT / name / name.replace("-", "_")
        words = re.sub(r"stdin\b(?!_)|stdout|outcomes of the messages", "", part)
        for module in re.findall(r"[a-z_/]+", words):
            path = package / module
            assert path.is_dir() or path.with_suffix(".py").is_file(), module
