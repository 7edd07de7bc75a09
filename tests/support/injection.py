"""Inject faults of the operating system into the executables."""

import os
import textwrap
from pathlib import Path

# Without a network, the system's resolver would take long to fail.
NO_SUCH_HOST = """
    import socket
    def getaddrinfo(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    socket.getaddrinfo = getaddrinfo
"""
# The process's first connection is refused, or a later one: replace the number.
REFUSED_ONCE = """
    import socket
    original, attempts = socket.socket.connect, []
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            attempts.append(address)
            if len(attempts) == 1:
                raise ConnectionRefusedError(111, "Connection refused")
        return original(self, address)
    socket.socket.connect = connect
"""
# A random wait before a retry takes minutes instead of a fraction of a second.
LONG_WAITS = """
    import random
    random.uniform = lambda low, high: 1000 * high
"""
# A file ends within a line, as on a full disk.
NO_ROOM = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""

# A file ends within a line, and later the disk has room again.
ROOM_BYTES = 1000
ROOM_LATER = f"""
    import resource, signal
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    def make_room(*_):
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    signal.signal(signal.SIGXFSZ, make_room)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({ROOM_BYTES}, hard))
"""
# Stdout is cut off within a line while other threads wait to write, and then accepts more.
STDOUT_CUT = """
    import errno, io, sys, time
    class CutOnce(io.FileIO):
        left = 30_000
        def write(self, data):
            if self.left is None or len(data) <= self.left:
                count = super().write(data)
                self.left = self.left and self.left - count
                return count
            super().write(data[:self.left])
            self.left = None
            time.sleep(0.5)
            raise OSError(errno.ENOSPC, "No space left on device")
    raw = CutOnce(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), write_through=True)
"""

# Where a target with a store is killed: before or after the first transaction of a request, or
# before or after the second one, which follows the response.
KILL_MOMENTS = {
    "before the first transaction": ("add_in_doubt", "before"),
    "before the request": ("add_in_doubt", "after"),
    "after the response": ("settle", "before"),
    "after the second transaction": ("settle", "after"),
}
KILL = """
    import os, signal
    from target_workato_streams.delivery import store
    name, when, calls = {name!r}, {when!r}, []
    called = getattr(store.Store, name)
    def kill():
        if len(calls) >= {request}:
            os.kill(os.getpid(), signal.SIGKILL)
    def wrapped(*args, **kwargs):
        calls.append(1)
        if when == "before":
            kill()
        called(*args, **kwargs)
        kill()
    setattr(store.Store, name, wrapped)
"""


def killed(moment: str, request: int = 2) -> str:
    """Return the code that kills a target at one of `KILL_MOMENTS` of a request, counted from 1."""
    name, when = KILL_MOMENTS[moment]
    return KILL.format(name=name, when=when, request=request)


def with_state_interval(
    folder: Path, secs: float | None, env: dict[str, str] | None
) -> dict[str, str] | None:
    """Return the environment in which the tap emits a changed state after other than 5 seconds.

    What a test has injected itself is also run.
    """
    if secs is None:
        return env
    first, *_ = (env or {}).get("PYTHONPATH", "").split(os.pathsep)
    code = Path(first, "sitecustomize.py").read_text(encoding="utf-8") if first else ""
    code += f"\nfrom tap_workato_streams import sync\nsync.STATE_INTERVAL_SECS = {secs}\n"
    return {**(env or {}), **injected(folder / "state_interval", code)}


def injected(folder: Path, code: str) -> dict[str, str]:
    """Return the environment in which an executable runs `code` before anything else."""
    path = folder / "sitecustomize.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    # In front of the code of a mutation, if there is one.
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    # A limit of the size of files would truncate compiled modules, too.
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
