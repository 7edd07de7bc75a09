"""Real stores for a shared quota: SQLite, Redis and PostgreSQL."""

from __future__ import annotations

import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.demo.warehouse import warehouse
from tests.quota.servers import MISSING, redis_is_installed, redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.demo.warehouse import Warehouse
    from tests.quota.servers import RedisServer


@dataclass(frozen=True)
class Store:
    """A store, and the URL of a quota that no other test uses."""

    kind: str
    url: str


@pytest.fixture
def refused_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Warehouse]:
    """A PostgreSQL server for the session."""
    # Not in pytest's temporary folder, which the server's user cannot access.
    with tempfile.TemporaryDirectory(prefix="quota-") as name, warehouse(Path(name, "data")) as it:
        yield it


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server for the session."""
    if not redis_is_installed():
        pytest.skip(MISSING)
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["file", "postgresql", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each of the stores."""
    kind = str(request.param)
    name = f"test_{abs(hash(tmp_path)):x}"[:32]
    if kind == "file":
        return Store(kind, f"file://{tmp_path}/quota.db?name={name}")
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("shared_redis")
        return Store(kind, f"{server.url}?name={name}")
    database: Warehouse = request.getfixturevalue("postgres")
    host = database.socket
    return Store(kind, f"postgresql://postgres:pg-secret@/postgres?host={host}&name={name}")
