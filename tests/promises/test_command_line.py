"""The command line: what it prints, and how it reports failures, interrupts and tracebacks."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import pytest

from tests.support.connector import PAYLOAD, STREAM
from tests.support.executables import command, environment, run
from tests.support.raw_service import RawService, http_response
from tests.support.running import eventually, killed_at_end
from tests.support.tap import discover
from tests.support.tap_output import consumed, ids
from tests.tools.docs import TAP, TARGET

SHARED = ["about", "schema-flattening", "stream-maps", "structured-logging"]


@pytest.mark.parametrize(
    ("connector", "others"),
    [(TAP, ["catalog", "discover", "state", "test"]), (TARGET, [])],
    ids=["tap", "target"],
)
def test_about_lists_settings_and_capabilities(connector, others):
    about = json.loads(run(connector.name, "--about", "--format=json").stdout)
    assert (about["name"], about["version"]) == (connector.name, version(connector.name))
    assert sorted(about["capabilities"]) == sorted([*SHARED, *others])
    assert about["settings"] == connector.settings
    markdown = run(connector.name, "--about", "--format=markdown").stdout.decode()
    for name, setting in connector.settings["properties"].items():
        assert setting["title"]
        assert f"| {name} " in markdown


@pytest.mark.parametrize(
    "line",
    [command("tap-workato-streams"), [sys.executable, "-m", "tap_workato_streams"]],
    ids=["executable", "module"],
)
def test_the_version_is_printed_by_executable_and_module(line):
    done = subprocess.run(
        [*line, "--version"], capture_output=True, check=True, env=environment(), text=True
    )
    assert done.stdout.startswith(f"tap-workato-streams v{version('tap-workato-streams')}, ")


def test_discovery_prints_a_catalog_for_a_run(emulator, run_tap):
    """No request is sent, and all streams are selected, incremental, with the message id as key."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])
    catalog = discover(run_tap, topics=[topic])
    assert emulator.requests() == []
    [stream] = catalog["streams"]
    assert (stream["tap_stream_id"], stream["stream"]) == ("topic_1", "topic_1")
    assert stream["key_properties"] == ["message_id"]
    assert stream["replication_key"] == "message_id"
    assert stream["replication_method"] == "INCREMENTAL"
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
    done = run_tap("--test", topics=[{"id": 404, "name": "orders"}])
    assert done.exit_code == 1
    assert "orders (topic 404): HTTP 404" in done.error_lines[-1]
    assert "the test succeeded" not in done.stderr
    assert "Traceback" not in done.stderr
    assert len(emulator.requests()) == 1


def test_a_schema_test_writes_only_schemas(emulator, run_tap):
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": 1}])
    done = run_tap("--test=schema", topics=[topic])
    assert done.exit_code == 0
    assert [message["type"] for message in done.messages] == ["SCHEMA"]
    assert emulator.requests() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        ('{"api_token": "very-secret" ', "not JSON (Expecting ',' delimiter at line 1, column 29)"),
        ("[]", "not a JSON object of settings"),
    ],
    ids=["no file", "half a file", "an array"],
)
def test_an_unusable_config_file_is_reported_in_one_line(connector, text, words):
    path = connector.folder / "config.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = run(connector.name, "--config", path)
    assert (done.exit_code, done.stdout) == (1, b"")
    [line] = done.stderr.splitlines()
    assert f"config file {path}: {words}" in line
    assert "very-secret" not in line


def test_an_unusable_catalog_is_reported_in_one_line(emulator, tap_config, tmp_path):
    path = tmp_path / "catalog.json"
    path.write_text('{"streams": [')
    done = run("tap-workato-streams", "--config", tap_config(topics=[1]), "--catalog", path)
    assert (done.exit_code, done.stdout) == (1, b"")
    [line] = done.error_lines
    assert f"catalog file {path}: not JSON (Expecting value at line 1, column 14)" in line
    assert "Traceback" not in done.stderr
    assert emulator.requests() == []


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_an_unexpected_error_is_reported_by_type_and_place(tmp_path, tap_config, level):
    """Its text may contain a payload, and is not part of the traceback at debug level either."""
    script = tmp_path / "failing.py"
    script.write_text(
        "from tap_workato_streams.tap import TapWorkatoStreams\n"
        "def unforeseen(self):\n"
        "    raise LookupError('payload-' + 'of-a-message')\n"
        "TapWorkatoStreams.discover_streams = unforeseen\n"
        "TapWorkatoStreams.cli()\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script, "--config", tap_config(topics=[1])],
        capture_output=True,
        check=False,
        env=environment(LOGLEVEL=level),
        text=True,
    )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert "LookupError in unforeseen (" in line
    assert "failing.py:3); run again with LOGLEVEL=DEBUG to see more" in line
    assert "payload-of-a-message" not in done.stderr
    assert ("Traceback (most recent call last)" in done.stderr) == (level == "DEBUG")
    assert ("\nLookupError\n" in done.stderr) == (level == "DEBUG")


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
        connector.command("http://127.0.0.1:1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(PYTHONPATH=str(folder.parent)),
    )
    with killed_at_end(process):
        eventually(begun.exists, "the import")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout, stderr) == (-signal.SIGINT, b"", b"")


def test_a_traceback_contains_no_payload(connector, emulator):
    """A failing stream map logs a traceback at debug level."""
    emulator.create_topic("orders", id=1)
    emulator.load(1, [{"id": PAYLOAD}])
    field = "id" if connector.input else "payload['id']"
    maps = {"orders": {"broken": f"int({field})", "__key_properties__": []}}
    settings = {"api_token": emulator.token, "stream_maps": maps}
    outcome = connector.run(emulator.url, env={"LOGLEVEL": "DEBUG"}, **settings)
    assert outcome.exit_code == 1
    assert "Traceback" in outcome.stderr
    assert PAYLOAD not in outcome.stderr
    assert emulator.token not in outcome.stderr


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
    assert line.endswith("skip" if connector.input else "data_center and api_url")
