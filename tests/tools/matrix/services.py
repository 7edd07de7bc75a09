"""Servers that plugins need: each function starts one, yields its address and stops it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from typing_extensions import override

from tests.tools.demo import orders
from tests.tools.demo.forwarder import HOST
from tests.tools.matrix.plugins import BIGQUERY_EMULATOR, MOTO

START_TIMEOUT_SECS = 60
BUCKET = "lake"
INSTALL_SPATIAL = """
import duckdb, duckdb_extension_spatial, pathlib
[path] = pathlib.Path(duckdb_extension_spatial.__file__).parent.glob("**/*.duckdb_extension")
duckdb.sql(f"INSTALL '{path}'")
"""
ISSUES: list[dict[str, Any]] = [
    {
        "id": 10**15 + number,
        "number": number,
        "title": "Zoë 🎁",
        "state": "open",
        "user": {"login": "zoe", "id": 10**10, "type": "User"},
        "body": None if number % 2 else 'A "quoted" body',
        "created_at": "2026-11-01T00:00:00Z",
        "updated_at": f"2026-11-01T00:00:{number:02}Z",
        "labels": [{"id": 1, "name": "bug"}],
        "comments": 0,
        "type": None,
    }
    for number in range(50)
]


class NotInstalledError(Exception):
    """A server is missing on this machine; the message says how to install it."""


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """Run moto, a stand-in for S3, with an empty bucket."""
    port = _free_port()
    url = f"http://{HOST}:{port}"
    with _process([MOTO.path, "-H", HOST, "-p", port], folder, lambda: _ok(url)):
        requests.put(f"{url}/{BUCKET}", timeout=START_TIMEOUT_SECS).raise_for_status()
        yield url


@contextmanager
def mariadb(folder: Path) -> Iterator[str]:
    """Run MariaDB with the user `test` and the password `test`; the address is a port.

    Raises:
        NotInstalledError: It is not installed.
    """
    if shutil.which("mariadbd") is None:
        raise NotInstalledError(
            "MariaDB is not installed; on Debian, apt-get install mariadb-server"
        )
    port, socket_path = _free_port(), f"--socket={folder}/socket"
    data = ["--no-defaults", f"--datadir={folder}/data", "--user=root"]
    options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    _run(["mariadb-install-db", *data, *options])
    client = ["mariadb", "--no-defaults", "--user=root", socket_path]
    server = ["mariadbd", *data, socket_path, f"--bind-address={HOST}", f"--port={port}"]
    with _process(server, folder, lambda: _succeeds([*client, "--execute=SELECT 1"])):
        user = "CREATE USER test IDENTIFIED BY 'test'; GRANT ALL ON *.* TO test;"
        _run([*client, f"--execute={user}"])
        yield port


@contextmanager
def rest_api(_: Path) -> Iterator[str]:
    """Serve the orders of the demo as JSON: `{"data": [...]}`."""
    body = b'{"data": [%s]}' % b",".join(orders.FILE.read_bytes().splitlines())
    with _http_server(lambda _method, _path, _body: body) as url:
        yield url


@contextmanager
def github(_: Path) -> Iterator[str]:
    """Serve the repository `shop/orders` and its issues, like the API of GitHub."""
    repository = {"id": 1, "name": "orders", "owner": {"login": "shop", "id": 1}}
    answers = {"/orgs/shop/repos": [repository], "/repos/shop/orders/issues": ISSUES}
    with _http_server(
        lambda _method, path, _body: json.dumps(answers[path.partition("?")[0]]).encode()
    ) as url:
        yield url


@contextmanager
def elasticsearch(_: Path) -> Iterator[str]:
    """Keep the documents of bulk requests; `GET /documents/INDEX` returns them as JSON Lines."""
    documents: dict[str, list[bytes]] = {}

    def answer(_: str, path: str, body: bytes) -> bytes:
        if path.startswith("/documents/"):
            return b"\n".join(documents[path.removeprefix("/documents/")])
        items = []
        lines = body.splitlines() if path == "/_bulk" else []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            index = json.loads(action)["index"]["_index"]
            documents.setdefault(index, []).append(document)
            items.append({"index": {"_index": index, "status": 201}})
        return json.dumps({"errors": False, "items": items}).encode()

    with _http_server(answer) as url:
        yield url


@contextmanager
def bigquery(folder: Path) -> Iterator[str]:
    """Run bqemulator, a stand-in for BigQuery."""
    # It downloads this extension of DuckDB unless it is in the home directory.
    home = {"HOME": str(folder)}
    _run([BIGQUERY_EMULATOR.python, "-c", INSTALL_SPATIAL], home)
    port = _free_port()
    url = f"http://{HOST}:{port}"
    command = [BIGQUERY_EMULATOR.path, "start", "--rest-port", port, "--grpc-port", _free_port()]
    with _process(command, folder, lambda: _ok(f"{url}/bigquery/v2/projects/test/datasets"), home):
        yield url


@contextmanager
def _http_server(answer: Callable[[str, str, bytes], bytes]) -> Iterator[str]:
    """Answer each request with what a function returns for its method, path and body."""

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = answer(self.command, self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            # Without it, the client takes the server for another product.
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = _respond  # noqa: N815 - names of the library

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}"
        server.shutdown()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return str(probe.getsockname()[1])


def _ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=START_TIMEOUT_SECS).ok
    except requests.ConnectionError:
        return False


def _run(command: list[Any], variables: dict[str, str] | None = None) -> None:
    subprocess.run(command, env=_environment(variables), capture_output=True, check=True)


def _succeeds(command: list[Any]) -> bool:
    return not subprocess.run(command, capture_output=True, check=False).returncode


@contextmanager
def _process(
    command: list[Any],
    folder: Path,
    is_ready: Callable[[], bool],
    variables: dict[str, str] | None = None,
) -> Iterator[None]:
    """Run a server from the moment when it is ready.

    Raises:
        RuntimeError: It ended before, or took too long.
    """
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=_environment(variables), stdout=output, stderr=output
        )
    try:
        limit = time.monotonic() + START_TIMEOUT_SECS
        while not is_ready():
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-1000:]}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(variables: dict[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(variables or {})}
