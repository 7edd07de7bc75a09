"""`orchestrate/run.sh` stops a pipeline so that Meltano stores the last state."""

import os
import shutil
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.pipelines.orchestration import RUN_SH, TAP, Pipeline, processes_with, wait_until_tailing
from tests.support.running import eventually, killed_at_end
from tests.tools.demo.services import TOPIC_ID

pytestmark = pytest.mark.timeout(600)

# The limit that the script promises. It takes one to three seconds, and longer on a busy machine.
STOP_SECS = 10

# The shells that are /bin/sh in Debian, Red Hat and Alpine.
SHELLS = [
    pytest.param(
        shell, marks=pytest.mark.skipif(not shutil.which(shell[0]), reason="no such shell")
    )
    for shell in (("dash",), ("bash", "--posix"), ("busybox", "ash"))
]

# As in a container, the script is process 1, and no other processes are visible.
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
can_unshare = (
    shutil.which("unshare") is not None
    and subprocess.run([*CONTAINER, "true"], check=False, capture_output=True).returncode == 0
)
needs_unshare = pytest.mark.skipif(not can_unshare, reason="a PID namespace needs root and Linux")


def stop(pipeline: Pipeline) -> int:
    """Send SIGTERM, and return the exit code; the run must end within `STOP_SECS`."""
    pipeline.send(signal.SIGTERM)
    return pipeline.end(within=STOP_SECS)


# Real pipelines in tail mode that wait for the next message.


def test_meltano_alone_loads_rows_and_stores_no_state(pipelines, emulator, last_message):
    """The reason for the script: without it, the next run loads the same rows again."""
    suffix = "alone"
    command = ("meltano", "run", TAP, "target-postgres", "--state-id-suffix", suffix)
    with pipelines.run(*command) as pipeline:
        wait_until_tailing(emulator)
        # If the loader were still starting, it would be killed before it has loaded a row.
        eventually(lambda: pipelines.rows() is not None, "the table")
        time.sleep(0.5)
        assert stop(pipeline) == 128 + signal.SIGTERM
    ids = {message.message_id for message in emulator.messages(TOPIC_ID)}
    eventually(lambda: pipelines.rows() == ids, "the rows")
    assert pipelines.position("target-postgres", suffix) != last_message


def test_a_stop_keeps_all_rows_and_the_state(pipelines, emulator, last_message):
    command = (RUN_SH, TAP, "target-postgres", "--state-id-suffix=postgres")
    with pipelines.run(*command) as pipeline:
        wait_until_tailing(emulator)
        assert stop(pipeline) == 0, pipeline.log
    ids = {message.message_id for message in emulator.messages(TOPIC_ID)}
    assert ids <= (pipelines.rows() or set())
    assert pipelines.position("target-postgres", "postgres") == last_message


@needs_unshare
def test_a_stop_of_a_container_keeps_all_rows_and_the_state(pipelines, emulator, last_message):
    """The script is process 1, and the loader writes each record immediately."""
    command = (*CONTAINER, RUN_SH, TAP, "target-jsonl", "--state-id-suffix=jsonl")
    with pipelines.run(*command) as pipeline:
        wait_until_tailing(emulator)
        # unshare itself does not forward signals.
        pipeline.descendants()[0].terminate()
        assert pipeline.end(within=STOP_SECS) == 0, pipeline.log
    rows = (pipelines.root / "orders.jsonl").read_bytes().splitlines()
    assert len(rows) == len(emulator.messages(TOPIC_ID))
    assert pipelines.position("target-jsonl", "jsonl") == last_message


@pytest.mark.usefixtures("last_message")
def test_a_second_signal_ends_all(pipelines, emulator):
    """Meltano and both plugins get the signal, so a hanging loader does not block the stop."""
    with pipelines.run(RUN_SH, TAP, "target-jsonl", "--state-id-suffix=twice") as pipeline:
        wait_until_tailing(emulator)
        processes = {" ".join(process.cmdline()): process for process in pipeline.descendants()}
        [loader] = [process for line, process in processes.items() if "target." in line]
        loader.suspend()
        pipeline.send(signal.SIGTERM)
        eventually(lambda: "stopping the tap" in pipeline.log, "the first signal")
        pipeline.send(signal.SIGTERM)
        eventually(lambda: "second signal" in pipeline.log, "the second signal")
        loader.resume()
        assert pipeline.end(within=STOP_SECS) == 128 + signal.SIGTERM, pipeline.log
    plugins = f"{pipelines.root}/.meltano/run/"
    eventually(lambda: processes_with(plugins) == [], "the end of all processes")


# Cases that are rare or slow with Meltano; a script replaces it.

SCRIPT = (RUN_SH, "tap-a", "target-b")


def write_script(path: Path, text: str) -> None:
    """Write an executable shell script."""
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text), encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which `meltano` is a script of the test."""
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_arguments_and_exit_code_are_meltanos(shell, tmp_path, env):
    write_script(tmp_path / "meltano", 'echo "$@"\nexit 7\n')
    pipeline = Pipeline(tmp_path, env, (*shell, *SCRIPT, "--full-refresh"))
    assert pipeline.end() == 7
    assert pipeline.log == "run tap-a target-b --full-refresh\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_just_starting_is_stopped(number, tmp_path, env):
    """The signal is sent only after discovery, and when the tap handles it."""
    write_script(
        tmp_path / "tap",
        """
        [ "$3" = --discover ] && exec sleep 0.5
        sleep 0.5
        trap 'echo stopped; exit 0' TERM
        sleep 30 &
        wait
        """,
    )
    tap = f"tap --config {tmp_path}/run/tap-a/tap.0123.config.json"
    write_script(tmp_path / "meltano", f"echo started\n{tap} --discover || exit 3\n{tap} || exit 4")
    pipeline = Pipeline(tmp_path, env, SCRIPT)
    eventually(lambda: "started" in pipeline.log, "the start")
    pipeline.send(number)
    assert pipeline.end() == 0, pipeline.log
    assert pipeline.log.splitlines()[-1] == "stopped"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_closed_stderr_does_not_prevent_a_stop(shell, tmp_path, env):
    """It is a closed pipe if the orchestrator was killed."""
    trap = "trap 'touch stopped; exit 0' TERM\ntouch started\nsleep 30 &\nwait\n"
    write_script(tmp_path / "tap", trap)
    write_script(tmp_path / "meltano", f"tap --config {tmp_path}/run/tap-a/tap.0123.config.json\n")
    process = subprocess.Popen(
        [*shell, *SCRIPT], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with killed_at_end(process):
        assert process.stdout is not None
        eventually((tmp_path / "started").exists, "the start")
        process.stdout.close()
        process.terminate()
        assert process.wait(STOP_SECS) == 0
    assert (tmp_path / "stopped").exists()


@needs_unshare
def test_process_1_leaves_no_zombies(tmp_path, env):
    """Orphaned processes become children of process 1, which has to wait for them."""
    write_script(tmp_path / "meltano", "(true &)\necho started\nsleep 1\n")
    pipeline = Pipeline(tmp_path, env, (*CONTAINER, *SCRIPT))
    eventually(lambda: "started" in pipeline.log, "the orphan")

    def has_none() -> bool:
        states = [process.status() for process in pipeline.descendants()]
        return psutil.STATUS_ZOMBIE not in states

    eventually(has_none, "no zombies")
    assert pipeline.end() == 0


@pytest.mark.parametrize("missing", ["meltano", "setsid", "sleep", "tr"])
def test_a_missing_tool_is_reported(missing, tmp_path):
    for tool in {"meltano", "setsid", "sleep", "tr"} - {missing}:
        (tmp_path / tool).symlink_to("/bin/true")
    pipeline = Pipeline(tmp_path, {"PATH": str(tmp_path)}, SCRIPT)
    assert pipeline.end() == 127
    [line] = pipeline.log.splitlines()
    assert line.startswith(f"run.sh: {missing} is not in PATH; install it")


@needs_unshare
def test_proc_is_needed(tmp_path, env):
    """Without /proc the script could not find the tap, and a stop would do nothing."""
    write_script(tmp_path / "meltano", "")
    hidden = f'mount -t tmpfs none /proc && exec {RUN_SH} "$@"'
    command = ("unshare", "--mount", "sh", "-c", hidden, "sh", "tap-a", "target-b")
    pipeline = Pipeline(tmp_path, env, command)
    assert pipeline.end() == 1
    assert pipeline.log.startswith("run.sh: /proc is not mounted")


def test_a_pipeline_needs_a_tap_and_a_loader(tmp_path, env):
    pipeline = Pipeline(tmp_path, env, (RUN_SH, "tap-a"))
    assert pipeline.end() == 2
    assert pipeline.log.startswith("run.sh: usage: run.sh TAP LOADER")
