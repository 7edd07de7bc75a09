"""Settings, interrupts and tracebacks: errors name the cause, and contain no secrets."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tap_workato_streams.plugin.config import problems

from tests.both.conftest import PAYLOAD, STREAM, TOKEN
from tests.executables import environment
from tests.raw_service import RawService, http_response
from tests.running import eventually

if TYPE_CHECKING:
    from tests.both.conftest import Connector

NOBODY = "http://127.0.0.1:1"
HOSTS = [
    "https://*.workato.com",
    "https://a..b",
    f"https://{'a' * 64}.com",
    "https://a b.com",
    "https://a.com\n",
    "https://[::1",
]


def test_every_bad_setting_is_one_line_without_its_value(connector: Connector) -> None:
    """Examples are a token in the wrong setting, an invalid host, and a timeout over the limit."""
    outcome = connector.run(
        NOBODY,
        data_center=TOKEN,
        developer_api_url="https://*.workato.com",
        request_timeout_secs=1e300,
        max_retry_secs=1e12,
        legacy_api=TOKEN,
    )
    assert outcome.exit_code == 1
    lines = " ".join(outcome.error_lines)
    assert "data_center: must be one of us, eu, jp, sg, au, trial" in lines
    assert "developer_api_url: is not a URL that begins with https://" in lines
    assert "request_timeout_secs: must be at most 86400" in lines
    assert lines.count("request_timeout_secs: ") == 1
    assert "max_retry_secs: must be at most 1000000000" in lines
    assert "legacy_api: must be of type boolean" in lines
    assert TOKEN not in outcome.stderr


@pytest.mark.parametrize("url", HOSTS)
def test_a_host_that_cannot_exist_is_a_setting_error(url: str) -> None:
    """The host is checked before the first request, because the HTTP library may not reject it."""
    schema: dict[str, Any] = {"properties": {}}
    [line] = problems({"api_url": url}, schema)
    assert line.startswith("api_url: ")


@pytest.mark.parametrize("url", ["https://h", "https://a_b.c-d.:8/p/", "https://[::1]", NOBODY])
def test_a_valid_host_is_accepted(url: str) -> None:
    """IP addresses and names in internal networks are valid, too."""
    assert problems({"api_url": url}, {"properties": {}}) == []


@pytest.mark.parametrize("content", ["[]", "null", "{"])
def test_an_invalid_config_file_is_reported(connector: Connector, content: str) -> None:
    """The error gives the file and the position of the JSON error, in one line."""
    command = connector.command(NOBODY)
    config = connector.folder / "config.json"
    config.write_text(content, encoding="utf-8")
    done = subprocess.run(
        command, input=b"", capture_output=True, check=False, env=environment(), timeout=60
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.decode().splitlines() if "ERROR" in line]
    assert len(errors) == 1
    assert f"config file {config}: not " in errors[0]
    assert b"Traceback" not in done.stderr


def test_an_interrupt_during_imports_prints_no_traceback(connector: Connector) -> None:
    """SIGINT is handled even during the import of the SDK, which takes longest."""
    folder = connector.folder / "imports" / "singer_sdk"
    folder.mkdir(parents=True)
    begun = connector.folder / "begun"
    (folder / "__init__.py").write_text(
        f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        connector.command(NOBODY),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(PYTHONPATH=str(folder.parent)),
    )
    eventually(begun.exists, "the import")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (-signal.SIGINT, b"", b"")


def test_a_traceback_contains_no_payload(connector: Connector) -> None:
    """A failing stream map logs a traceback at debug level."""
    page = json.dumps(
        {
            "messages": [
                {"message_id": "A", "payload": {"id": PAYLOAD}, "time": "2024-01-01T00:00:00Z"}
            ]
        }
    ).encode()
    body = connector.body if connector.input else page
    field = "id" if connector.input else "payload['id']"
    maps = {"orders": {"broken": f"int({field})", "__key_properties__": []}}
    with RawService(lambda connection, _number: connection.sendall(http_response(body))) as service:
        outcome = connector.run(service.url, env={"LOGLEVEL": "DEBUG"}, stream_maps=maps)
    assert outcome.exit_code == 1
    assert "Traceback" in outcome.stderr
    assert PAYLOAD not in outcome.stderr
    assert TOKEN not in outcome.stderr


def test_a_log_line_has_a_maximum_length(connector: Connector) -> None:
    """A message id or a stream name may be as large as a message; the end of the line is kept."""
    long = "x" * 1_000_000
    if connector.input:
        stream = STREAM.replace(b'"orders"', b'"%b"' % long.encode())
        connector = replace(connector, input=stream, topics={"other": 1})
    else:
        connector = replace(connector, topics=[{"id": 1, "name": long}])
    not_found = http_response(b"", status="404 Not Found")
    with RawService(lambda connection, _number: connection.sendall(not_found)) as service:
        outcome = connector.run(service.url)
    assert outcome.exit_code == 1
    assert max(map(len, outcome.stderr.splitlines())) < 3_000
    [line] = outcome.error_lines
    assert "xxx... (99" in line
    assert line.endswith(
        "skip" if connector.input else "check the topic id, data_center and api_url"
    )
