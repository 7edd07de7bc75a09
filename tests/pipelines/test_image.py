"""`orchestrate/docker/Dockerfile` copies all files of a pipeline; checked without containers."""

import re
import shutil

import pytest

from tests.tools.demo.project import Project, copy_sources
from tests.tools.demo.services import ROOT

pytestmark = pytest.mark.timeout(600)

FOLDER = ROOT / "orchestrate" / "docker"
COPY = re.compile(r"^COPY (?:--\S+ )*(?P<source>\S+) (?P<target>\S+)$", flags=re.MULTILINE)


def test_the_image_has_the_whole_project(tmp_path):
    """Meltano finds the pipeline's plugins in the copied files, without Meltano Hub."""
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    ignored, *sent = (
        line.removeprefix("!")
        for line in (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith(("*", "!")) and not line.startswith("**")
    )
    copied = [found.groups() for found in COPY.finditer(dockerfile)]
    assert ignored == "*"
    assert sent == [source for source, _ in copied]
    for source, target in copied:
        path = tmp_path / target
        path.parent.mkdir(exist_ok=True)
        if (ROOT / source).is_dir():
            copy_sources(ROOT / source, path)
        else:
            shutil.copy(ROOT / source, path / source if target == "./" else path)
    assert (tmp_path / "orchestrate" / "run.sh").is_file()
    variables = {
        "WORKATO_API_TOKEN": "unset",
        "WAREHOUSE_URL": "unset",
        "MELTANO_AUTO_INSTALL": "0",
    }
    pipeline = ("tap-workato-streams", "target-postgres")
    Project(tmp_path, variables).meltano("run", "--dry-run", *pipeline)
