"""A forked executable behaves as one that was started: most tests use forked ones."""

import re
import subprocess

import pytest

from tests.support.executables import command, environment, write_json
from tests.support.fork_server import MODULES, run_forked


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("arguments", [["--about"], ["--config", "config.json"], ["--nonsense"]])
def test_exit_code_and_output_are_those_of_a_real_start(name, arguments, tmp_path, monkeypatch):
    """So are the folder, the environment and stdin; only the times in the log differ."""
    write_json(tmp_path / "config.json", {"topics": "none", "data_center": "mars"})
    monkeypatch.chdir(tmp_path)
    line, variables = command(name, *arguments), environment(LOGLEVEL="DEBUG")
    forked = run_forked(line, b"{}\n", 60, variables)
    started = subprocess.run(
        line, input=b"{}\n", capture_output=True, check=False, timeout=60, env=variables
    )
    assert forked.returncode == started.returncode
    assert forked.stdout == started.stdout
    digits = re.compile(rb"\d+")
    assert digits.sub(b"0", forked.stderr) == digits.sub(b"0", started.stderr)


def test_a_process_inherits_nothing_from_an_earlier_one(tmp_path):
    """Neither a variable nor the log's level remains."""
    config = write_json(tmp_path / "config.json", {"topics": "none"})
    line = command("tap-workato-streams", "--config", config)
    before = run_forked(line, b"", 60, environment())
    run_forked(line, b"", 60, environment(LOGLEVEL="DEBUG", TAP_WORKATO_STREAMS_API_TOKEN="t"))
    after = run_forked(line, b"", 60, environment())
    digits = re.compile(rb"\d+")
    assert digits.sub(b"0", after.stderr) == digits.sub(b"0", before.stderr)
