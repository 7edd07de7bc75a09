"""Start executables by forking a process that has imported them: an import costs more than a run.

The client sends a request to a server, which is started when it is needed first. Each run is a
process of its own, with its own arguments, environment, folder and pipes, and ends like any other
Python process. Use a real start for tests of imports, signals and the command line of Python.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
# What the executables import before they read their arguments.
MODULES = {
    "tap-workato-streams": ["tap_workato_streams.__main__", "tap_workato_streams.tap"],
    "target-workato-streams": ["target_workato_streams.__main__", "target_workato_streams.target"],
}
REQUEST_BYTES = 100_000


def run_forked(
    command: Sequence[str], stdin: bytes, timeout: float, env: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run an executable until it exits, like `subprocess.run` with captured output."""
    with ExitStack() as opened, ThreadPoolExecutor(3) as pool:
        theirs = []
        ours: list[IO[bytes]] = []
        for mode in ("wb", "rb", "rb", "rb"):
            read, write = os.pipe()
            theirs.append(read if mode == "wb" else write)
            ours.append(opened.enter_context(os.fdopen(write if mode == "wb" else read, mode)))
        request = json.dumps({"command": command, "env": dict(env), "cwd": os.getcwd()}).encode()  # noqa: PTH109
        assert len(request) < REQUEST_BYTES
        socket.send_fds(_server(), [request], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        to_process, stdout, stderr, result = ours
        pool.submit(_write, to_process, stdin)
        outputs = [pool.submit(pipe.read) for pipe in (stdout, stderr)]
        started = result.readline()
        assert started, "the fork server has exited; its stderr says why"
        pid = int(started)
        if not select.select([result], [], [], timeout)[0]:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(command), timeout)
        code = int(result.readline())
        return subprocess.CompletedProcess(list(command), code, *(one.result() for one in outputs))


def _write(pipe: IO[bytes], text: bytes) -> None:
    # The process may exit before it has read everything.
    with suppress(BrokenPipeError), pipe:
        pipe.write(text)


@cache
def _server() -> socket.socket:
    """Return the connection to the server of this process; the server exits when it is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(_stop, ours, process)
    return ours


def _stop(connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
    connection.close()
    process.wait()


def serve(requests: socket.socket) -> None:
    """Fork a process for each request; return only in these processes.

    Each has a parent of its own, which waits for it and writes its id and its exit code to the last
    of the four descriptors; the others are stdin, stdout and stderr.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the parents
    for module in [module for modules in MODULES.values() for module in modules]:
        import_module(module)
    gc.freeze()
    while True:
        text, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
        if not text:
            os._exit(0)
        if os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        requests.close()
        *standard, result = descriptors
        if pid := os.fork():
            for descriptor in standard:
                os.close(descriptor)
            os.write(result, f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            # The client does not wait for a process that it has killed.
            with suppress(BrokenPipeError):
                os.write(result, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        os.close(result)
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
            os.close(descriptor)
        request = json.loads(text)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.argv = request["command"]
        # Without a package, click shows the name of the executable in its usage.
        sys.modules["__main__"].__package__ = None
        return


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(import_module(MODULES[Path(sys.argv[0]).name][0]).main())
