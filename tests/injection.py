"""Inject faults of the operating system into the executables."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
# A file ends within a line, as on a full disk.
NO_ROOM = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""


def injected(folder: Path, code: str) -> dict[str, str]:
    """Return the environment in which an executable runs `code` before anything else.

    Args:
        folder: An empty folder for the code.
        code: Python code, which may be indented.
    """
    path = folder / "sitecustomize.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}
