"""`orchestrate/run.sh` stops a pipeline so that Meltano stores the last state."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import textwrap
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.pipelines.orchestration import RUN_SH, TAP, Pipeline, wait_until_tailing
from tests.support.running import eventually, killed_at_end
from tests.tools.demo.services import TOPIC_ID

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.timeout(600)

ROWS = 120
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


class TestWithMeltano:
    """Real pipelines in tail mode that wait for the next message."""

    def test_meltano_alone_loads_rows_and_stores_no_state(self, pipelines, emulator, last_message):
        """The reason for the script: without it, the next run loads the same rows again."""
        suffix = "alone"
        command = ("meltano", "run", TAP, "target-postgres", "--state-id-suffix", suffix)
        with pipelines.run(*command) as pipeline:
            wait_until_tailing(emulator)
            # If the loader were still starting, it would be killed before it has loaded a row.
            eventually(lambda: pipelines.rows() is not None, "the table")
            time.sleep(0.5)
            code = stop(pipeline)
        assert code == 128 + signal.SIGTERM
        ids = {message.message_id for message in emulator.messages(TOPIC_ID)}
        eventually(lambda: pipelines.rows() == ids, "the rows")
        assert pipelines.position("target-postgres", suffix) != last_message

    def test_postgres(self, pipelines, emulator, last_message):
        """The exit code is 0, all rows are loaded, and the state is at the last message."""
        command = (RUN_SH, TAP, "target-postgres", "--state-id-suffix=postgres")
        with pipelines.run(*command) as pipeline:
            wait_until_tailing(emulator)
            code = stop(pipeline)
        assert code == 0, pipeline.log
        ids = {message.message_id for message in emulator.messages(TOPIC_ID)}
        assert ids <= (pipelines.rows() or set())
        assert pipelines.position("target-postgres", "postgres") == last_message

    @needs_unshare
    def test_jsonl_in_a_container(self, pipelines, emulator, last_message):
        """The script is process 1, and the loader writes each record immediately."""
        command = (*CONTAINER, RUN_SH, TAP, "target-jsonl", "--state-id-suffix=jsonl")
        with pipelines.run(*command) as pipeline:
            wait_until_tailing(emulator)
            # unshare itself does not forward signals.
            pipeline.descendants()[0].terminate()
            code = pipeline.end(within=STOP_SECS)
        assert code == 0, pipeline.log
        assert len((pipelines.root / "orders.jsonl").read_bytes().splitlines()) == ROWS
        assert pipelines.position("target-jsonl", "jsonl") == last_message

    @pytest.mark.usefixtures("last_message")
    def test_a_second_signal_ends_all(self, pipelines, emulator):
        """Meltano and both plugins get the signal, so a hanging loader does not block the stop."""
        suffix = "--state-id-suffix=twice"
        with pipelines.run(RUN_SH, TAP, "target-jsonl", suffix) as pipeline:
            wait_until_tailing(emulator)
            [loader] = [
                process
                for process in pipeline.descendants()
                if "target." in " ".join(process.cmdline())
            ]
            loader.suspend()
            pipeline.send(signal.SIGTERM)
            eventually(lambda: "stopping the tap" in pipeline.log, "the first signal")
            pipeline.send(signal.SIGTERM)
            eventually(lambda: "second signal" in pipeline.log, "the second signal")
            loader.resume()
            code = pipeline.end(within=STOP_SECS)
        assert code == 128 + signal.SIGTERM, pipeline.log
        eventually(lambda: pipelines.processes() == [], "the end of all processes")


def write_script(path: Path, text: str) -> None:
    """Write an executable shell script."""
    path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    path.chmod(0o755)


class TestWithoutMeltano:
    """Cases that are rare or slow with Meltano; a script replaces it."""

    @pytest.fixture
    def env(self, tmp_path: Path) -> dict[str, str]:
        """An environment in which `meltano` is a script of the test."""
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    @pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
    def test_the_exit_code_is_meltanos(self, shell, tmp_path, env):
        """The script passes its arguments to `meltano run`, and returns its exit code."""
        write_script(tmp_path / "meltano", '#!/bin/sh\necho "$@"\nexit 7\n')
        pipeline = Pipeline(tmp_path, env, (*shell, RUN_SH, "tap-a", "target-b", "--full-refresh"))
        assert pipeline.end() == 7
        assert pipeline.log == "run tap-a target-b --full-refresh\n"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_run_that_is_just_starting_is_stopped(self, number, tmp_path, env):
        """The signal is sent only after discovery, and when the tap handles it."""
        tap = tmp_path / "run" / "tap-a"
        write_script(
            tmp_path / "tap",
            """
            #!/bin/sh
            [ "$3" = --discover ] && exec sleep 0.5
            sleep 0.5
            trap 'echo stopped; exit 0' TERM
            sleep 30 &
            wait
            """,
        )
        config = f"--config {tap}/tap.0123.config.json"
        write_script(
            tmp_path / "meltano",
            f"""
            #!/bin/sh
            echo started
            tap {config} --discover || exit 3
            tap {config} || exit 4
            """,
        )
        pipeline = Pipeline(tmp_path, env, (RUN_SH, "tap-a", "target-b"))
        eventually(lambda: "started" in pipeline.log, "the start")
        pipeline.send(number)
        assert pipeline.end() == 0, pipeline.log
        assert pipeline.log.splitlines()[-1] == "stopped"

    @pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
    def test_a_closed_stderr_does_not_prevent_a_stop(self, shell, tmp_path, env):
        """A stop works even if stderr is a closed pipe because the orchestrator was killed."""
        write_script(
            tmp_path / "tap",
            """
            #!/bin/sh
            trap 'touch stopped; exit 0' TERM
            touch started
            sleep 30 &
            wait
            """,
        )
        config = f"--config {tmp_path}/run/tap-a/tap.0123.config.json"
        write_script(tmp_path / "meltano", f"#!/bin/sh\ntap {config}\n")
        process = subprocess.Popen(
            [*shell, RUN_SH, "tap-a", "target-b"],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with killed_at_end(process):
            assert process.stdout is not None
            eventually((tmp_path / "started").exists, "the start")
            process.stdout.close()
            process.terminate()
            assert process.wait(STOP_SECS) == 0
        assert (tmp_path / "stopped").exists()

    @needs_unshare
    def test_process_1_leaves_no_zombies(self, tmp_path, env):
        """Orphaned processes become children of process 1, which has to wait for them."""
        write_script(tmp_path / "meltano", "#!/bin/sh\n(true &)\necho started\nsleep 1\n")
        pipeline = Pipeline(tmp_path, env, (*CONTAINER, RUN_SH, "tap-a", "target-b"))
        eventually(lambda: "started" in pipeline.log, "the orphan")

        def states() -> set[str]:
            return {process.status() for process in pipeline.descendants()}

        eventually(lambda: psutil.STATUS_ZOMBIE not in states(), "no zombies")
        assert pipeline.end() == 0

    @pytest.mark.parametrize("missing", ["meltano", "setsid", "sleep", "tr"])
    def test_a_missing_tool_is_reported(self, missing, tmp_path):
        """In a minimal image, the error says what to install."""
        for tool in {"meltano", "setsid", "sleep", "tr"} - {missing}:
            (tmp_path / tool).symlink_to("/bin/true")
        pipeline = Pipeline(tmp_path, {"PATH": str(tmp_path)}, (RUN_SH, "tap-a", "target-b"))
        assert pipeline.end() == 127
        [line] = pipeline.log.splitlines()
        assert line.startswith(f"run.sh: {missing} is not in PATH; install it")

    @needs_unshare
    def test_proc_is_needed(self, tmp_path, env):
        """Without /proc the script could not find the tap, and a stop would do nothing."""
        write_script(tmp_path / "meltano", "#!/bin/sh\n")
        hidden = f'mount -t tmpfs none /proc && exec {RUN_SH} "$@"'
        command = ("unshare", "--mount", "sh", "-c", hidden, "sh", "tap-a", "target-b")
        pipeline = Pipeline(tmp_path, env, command)
        assert pipeline.end() == 1
        assert pipeline.log.startswith("run.sh: /proc is not mounted")

    def test_usage(self, tmp_path, env):
        """A pipeline needs a tap and a loader."""
        pipeline = Pipeline(tmp_path, env, (RUN_SH, "tap-a"))
        assert pipeline.end() == 2
        assert pipeline.log.startswith("run.sh: usage: run.sh TAP LOADER")
