"""The command line: what it prints, and how it reports failures, interrupts and tracebacks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from tap_workato_streams.plugin.config import problems
from tap_workato_streams.tap import TapWorkatoStreams

from tests.support.connector import PAYLOAD, STREAM, TOKEN
from tests.support.executables import Outcome, environment, run
from tests.support.raw_service import RawService, http_response
from tests.support.running import eventually
from tests.support.tap_output import consumed, ids

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tap import TapConfig

SETTINGS = [
    "api_token",
    "data_center",
    "api_url",
    "legacy_api",
    "max_requests_per_minute",
    "quota_url",
    "request_timeout_secs",
    "max_retry_secs",
    "developer_api_token",
    "developer_api_url",
    "metrics_address",
    "topics",
    "start_from",
    "start_date",
    "end_date",
    "batch_size",
    "timeout_secs",
    "tail",
    "max_messages",
    "max_run_secs",
    "on_expired_bookmark",
    "infer_schema",
    "record_format",
    "schema_evolution",
    "max_parallel_topics",
    "state_interval_secs",
]
CAPABILITIES = [
    "catalog",
    "state",
    "discover",
    "test",
    "about",
    "stream-maps",
    "schema-flattening",
    "batch",
    "structured-logging",
]


def printed(outcome: Outcome) -> str:
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.stdout.decode()


def test_about_lists_settings_and_capabilities_as_json():
    """Each setting has a title and a description, and tokens are marked as secrets."""
    about = json.loads(printed(run("tap-workato-streams", "--about", "--format=json")))

    assert about["name"] == "tap-workato-streams"
    assert about["version"] == version("tap-workato-streams")
    assert about["capabilities"] == CAPABILITIES
    properties = about["settings"]["properties"]
    assert list(properties)[: len(SETTINGS)] == SETTINGS
    assert about["settings"]["required"] == ["api_token"]
    assert all(properties[name]["title"] for name in SETTINGS)
    assert all(properties[name]["description"] for name in SETTINGS)
    secrets = [name for name in properties if properties[name].get("secret")]
    assert secrets == ["api_token", "quota_url", "developer_api_token"]


def test_about_lists_settings_as_markdown():
    """A table with a row for each setting."""
    about = printed(run("tap-workato-streams", "--about", "--format=markdown"))

    assert about.startswith("# `tap-workato-streams`")
    for name in SETTINGS:
        assert f"| {name} " in about


@pytest.mark.parametrize(
    "command",
    [["tap-workato-streams"], [sys.executable, "-m", "tap_workato_streams"]],
    ids=["executable", "module"],
)
def test_the_version_is_printed_by_executable_and_module(command):
    """Both are the same command."""
    if command[0] == sys.executable:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, check=True, env=environment()
        )
        text = done.stdout.decode()
    else:
        text = printed(run(*command, "--version"))

    assert text.startswith(f"tap-workato-streams v{version('tap-workato-streams')}, ")


def test_a_run_as_a_module_reads_the_topics(emulator, tap_config):
    """A module writes the same records as the executable."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])

    done = subprocess.run(
        [sys.executable, "-m", "tap_workato_streams", "--config", tap_config(topics=[topic])],
        capture_output=True,
        check=True,
        env=environment(),
    )

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["record"]["message_id"] for line in lines if line["type"] == "RECORD"] == loaded


def test_discovery_prints_a_catalog_for_a_run(emulator, run_tap):
    """No request is sent, and all streams are selected, incremental, with the message id as key."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])

    catalog = json.loads(printed(run_tap("--discover", topics=[topic])))

    assert emulator.requests() == []
    [stream] = catalog["streams"]
    assert (stream["tap_stream_id"], stream["stream"]) == ("topic_1", "topic_1")
    assert stream["key_properties"] == ["message_id"]
    assert (stream["replication_key"], stream["replication_method"]) == (
        "message_id",
        "INCREMENTAL",
    )
    metadata = {tuple(entry["breadcrumb"]): entry["metadata"] for entry in stream["metadata"]}
    assert metadata[()]["selected"]
    assert metadata["properties", "message_id"]["inclusion"] == "automatic"
    assert ids(run_tap(topics=[topic], catalog=catalog)) == loaded


def test_a_connection_test_reads_one_record_of_each_topic(emulator, run_tap):
    """One page per topic is read; exit code 0 means that all can be read, even empty ones."""
    first, empty = emulator.create_topic(), emulator.create_topic()
    emulator.load(first, [{"n": n} for n in range(100)])

    done = run_tap("--test", topics=[first, empty])

    assert done.exit_code == 0, done.stderr
    assert done.error_lines == []
    assert len(ids(done)) == 1
    assert [len(consumed(emulator, topic)) for topic in (first, empty)] == [1, 1]
    *_, last = done.stderr.splitlines()
    assert "the test succeeded: 2 topics can be read: topic_1, topic_2" in last


def test_a_connection_test_that_fails_says_why(emulator, run_tap):
    """The exit code is 1, and the line is the same as in a run."""
    done = run_tap("--test", topics=[{"id": 404, "name": "orders"}])

    assert done.exit_code == 1
    assert "orders (topic 404): HTTP 404" in done.error_lines[-1]
    assert "the test succeeded" not in done.stderr
    assert "Traceback" not in done.stderr
    assert len(emulator.requests()) == 1


def test_a_schema_test_writes_only_schemas(emulator, run_tap):
    """No request is sent."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": 1}])

    done = run_tap("--test=schema", topics=[topic])

    assert done.exit_code == 0
    assert [message["type"] for message in done.messages] == ["SCHEMA"]
    assert emulator.requests() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "config.json: cannot be read (No such file or directory)"),
        ("{", "config.json: not JSON (Expecting property name"),
        (
            '{"api_token": "very-secret" ',
            "config.json: not JSON (Expecting ',' delimiter at line 1, column 29)",
        ),
        ("[]", "config.json: not a JSON object of settings"),
        ("null", "config.json: not a JSON object of settings"),
    ],
    ids=["no file", "half a file", "no JSON", "an array", "null"],
)
def test_an_unusable_config_file_is_reported_in_one_line(tmp_path, text, words):
    """The line names the file and the place; there is no traceback."""
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)

    done = run("tap-workato-streams", "--config", path)

    assert (done.exit_code, done.stdout) == (1, b"")
    [line] = done.stderr.splitlines()
    assert words in line
    assert "very-secret" not in line


def test_an_unusable_catalog_is_reported_in_one_line(emulator, tap_config, tmp_path):
    """The line names the file and the place."""
    path = tmp_path / "catalog.json"
    path.write_text('{"streams": [')

    done = run("tap-workato-streams", "--config", tap_config(topics=[1]), "--catalog", path)

    assert (done.exit_code, done.stdout) == (1, b"")
    [line] = done.error_lines
    assert f"catalog file {path}: not JSON (Expecting value at line 1, column 14)" in line
    assert "Traceback" not in done.stderr
    assert emulator.requests() == []


def failing_command(tmp_path: Path, tap_config: TapConfig, env: dict[str, str]) -> Outcome:
    """Run the tap's command with an unexpected failure that quotes a payload."""
    script = tmp_path / "failing.py"
    script.write_text(
        "from tap_workato_streams.tap import TapWorkatoStreams\n"
        "def unforeseen(self):\n"
        "    raise LookupError('payload-of-a-message')\n"
        "TapWorkatoStreams.discover_streams = unforeseen\n"
        "TapWorkatoStreams.cli()\n"
    )
    done = subprocess.run(
        [sys.executable, script, "--config", tap_config(topics=[1])],
        capture_output=True,
        check=False,
        env=environment(**env),
    )
    return Outcome(done.returncode, done.stdout, done.stderr.decode())


def test_an_unexpected_error_is_reported_by_type_and_place(tmp_path, tap_config):
    """Its text may contain a payload: neither it nor a traceback is shown."""
    done = failing_command(tmp_path, tap_config, {})

    assert done.exit_code == 1
    [line] = done.error_lines
    assert "LookupError in unforeseen (" in line
    assert "failing.py:3); run again with LOGLEVEL=DEBUG to see more" in line
    assert "payload-of-a-message" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_of_the_unforeseen_is_for_those_who_debug(tmp_path, tap_config):
    """It contains the place of each call, but not the text of the exception."""
    done = failing_command(tmp_path, tap_config, {"LOGLEVEL": "DEBUG"})

    assert done.exit_code == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "failing.py" in done.stderr
    assert "\nLookupError\n" in done.stderr
    assert "LookupError: payload-of-a-message" not in done.stderr


def test_the_class_can_be_used_without_the_command(emulator, capfdbinary):
    """In-process runs write the same lines."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])

    TapWorkatoStreams(
        config={
            "api_url": emulator.url,
            "api_token": emulator.token,
            "topics": [{"id": topic}],
        }
    ).sync_all()

    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["SCHEMA", "RECORD", "STATE"]
    assert lines[1]["record"]["message_id"] == loaded[0]


NOBODY = "http://127.0.0.1:1"
HOSTS = [
    "https://*.workato.com",
    "https://a..b",
    f"https://{'a' * 64}.com",
    "https://a b.com",
    "https://a.com\n",
    "https://[::1",
]


def test_every_bad_setting_is_one_line_without_its_value(connector):
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
def test_a_host_that_cannot_exist_is_a_setting_error(url):
    """The host is checked before the first request, because the HTTP library may not reject it."""
    schema: dict[str, Any] = {"properties": {}}
    [line] = problems({"api_url": url}, schema)
    assert line.startswith("api_url: ")


@pytest.mark.parametrize("url", ["https://h", "https://a_b.c-d.:8/p/", "https://[::1]", NOBODY])
def test_a_valid_host_is_accepted(url):
    """IP addresses and names in internal networks are valid, too."""
    assert problems({"api_url": url}, {"properties": {}}) == []


@pytest.mark.parametrize("content", ["[]", "null", "{"])
def test_an_invalid_config_file_is_reported(connector, content):
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


def test_an_interrupt_during_imports_prints_no_traceback(connector):
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


def test_a_traceback_contains_no_payload(connector):
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


def test_a_log_line_has_a_maximum_length(connector):
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
