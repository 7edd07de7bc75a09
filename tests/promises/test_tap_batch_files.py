"""Batch files contain every record, and the state never passes a file not yet reported."""

import gzip
import json
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.executables import Outcome
from tests.support.running import eventually
from tests.support.tap import bookmark
from tests.support.tap_output import consumed

PAYLOAD = b'{"n":%d,"price":1.10,"big":123456789012345678901234567890,"s":"\\ud800"}'


@pytest.fixture
def batch_config(tmp_path: Path) -> dict[str, Any]:
    """Settings for files of 20 records."""
    return {
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "storage": {"root": tmp_path.as_uri(), "prefix": "orders-"},
        "batch_size": 20,
    }


def file_lines(message: dict[str, Any]) -> list[bytes]:
    """Return the lines of the files in a BATCH message, decoded as it says."""
    assert message["encoding"] == {"format": "jsonl", "compression": "gzip"}
    lines: list[bytes] = []
    for url in message["manifest"]:
        with gzip.open(urlsplit(url).path) as file:
            lines += file.read().splitlines()
    return lines


def batched(run: Outcome, stream: str = "topic_1") -> list[str]:
    """Return the message ids in all files of a stream, in order.

    Each STATE must cover exactly the records in the files reported before it.
    """
    found: list[str] = []
    states: list[tuple[str | None, int]] = []
    for message in run.messages:
        if message["type"] == "BATCH" and message["stream"] == stream:
            found += [line.split(b'"', 4)[3].decode() for line in file_lines(message)]
        elif message["type"] == "STATE":
            states.append((bookmark(message["value"], stream), len(found)))
    for covered, count in states:
        assert covered == found[count - 1] if count else covered not in found
    return found


@pytest.mark.parametrize("compression", [{"compression": "gzip"}, {"compression": "none"}, {}])
def test_files_contain_every_record_with_its_digits(
    emulator, topic, run_tap, batch_config, compression
):
    payloads = [PAYLOAD % n for n in range(50)]
    loaded = emulator.load(topic, payloads)
    batch_config["encoding"] = {"format": "jsonl", **compression}

    run = run_tap(topics=[topic], batch_config=batch_config, batch_size=15)

    kinds = [message["type"] for message in run.messages]
    assert kinds == ["SCHEMA", "BATCH", "STATE", "BATCH", "STATE", "BATCH", "STATE"]
    files = [file_lines(message) for message in run.messages if message["type"] == "BATCH"]
    assert [len(lines) for lines in files] == [20, 20, 10]
    expected = [
        b'{"message_id":"%b","topic_id":1,"time":"%b","payload":%b}'
        % (each.message_id.encode(), each.time.encode(), each.payload)
        for each in emulator.messages(topic)
    ]
    assert [line for lines in files for line in lines] == expected
    assert batched(run) == loaded
    assert run.states[-1]["bookmarks"]["topic_1"] == {
        "replication_key": "message_id",
        "replication_key_value": loaded[-1],
        "message_time": emulator.messages(topic)[-1].time,
        "topic_id": topic,
    }
    assert (run.exit_code, run.error_lines) == (0, [])


def test_a_run_resumes_where_the_files_of_the_last_one_end(emulator, topic, run_tap, batch_config):
    loaded = emulator.load(topic, [PAYLOAD % n for n in range(50)])
    first = run_tap(topics=[topic], batch_config=batch_config)
    from_the_middle = run_tap(topics=[topic], batch_config=batch_config, state=first.states[0])
    idle = run_tap(topics=[topic], batch_config=batch_config, state=first.states[-1])
    assert batched(first) == loaded
    assert batched(from_the_middle) == loaded[20:]
    assert batched(idle) == []
    assert idle.states[-1] == first.states[-1]


def test_deselected_properties_are_in_no_file(emulator, topic, run_tap, batch_config):
    """Neither those of the message nor those of the payload, in any record format.

    The other properties are checked as if all were selected.
    """
    [only] = emulator.load(topic, [{"id": 1, "email": "hush"}])
    settings: dict[str, Any] = {"topics": [topic], "infer_schema": True}

    for record_format, fields in (("nested", {"payload": {"id": 1}}), ("unpacked", {"id": 1})):
        settings["record_format"] = record_format
        catalog = json.loads(run_tap("--discover", **settings).stdout)
        for entry in catalog["streams"][0]["metadata"]:
            if entry["breadcrumb"] and entry["breadcrumb"][-1] in {"email", "topic_id", "time"}:
                entry["metadata"]["selected"] = False

        run = run_tap(catalog=catalog, batch_config=batch_config, **settings)

        [message] = [message for message in run.messages if message["type"] == "BATCH"]
        [line] = file_lines(message)
        assert json.loads(line) == {"message_id": only, **fields}

    catalog["streams"][0]["key_properties"] = ["id"]
    [second] = emulator.load(topic, [{"email": "x"}])
    run = run_tap(catalog=catalog, batch_config=batch_config, **settings)
    [error] = run.error_lines
    assert f"message {second} cannot be written: it has no value for id" in error


def test_messages_after_a_run_from_latest_are_in_the_next_files(
    emulator, topic, run_tap, batch_config
):
    """The first run writes no file, but a bookmark."""
    settings: dict[str, Any] = {"start_from": "latest", "batch_config": batch_config}
    first = run_tap(topics=[topic], **settings)
    loaded = emulator.load(topic, [PAYLOAD % 1])
    second = run_tap(topics=[topic], state=first.states[-1], **settings)
    assert (batched(first), batched(second)) == ([], loaded)


def test_max_messages_counts_the_files_of_all_topics_together(emulator, run_tap, batch_config):
    loaded = {n: emulator.load(emulator.create_topic(id=n), [PAYLOAD % n] * 40) for n in (1, 2)}
    settings: dict[str, Any] = {"topics": [1, 2], "batch_config": batch_config}
    first = run_tap(max_messages=50, **settings)
    second = run_tap(state=first.states[-1], **settings)
    read = {n: (batched(first, f"topic_{n}"), batched(second, f"topic_{n}")) for n in (1, 2)}
    assert sum(len(one) for one, _ in read.values()) == 50
    assert {n: one + two for n, (one, two) in read.items()} == loaded


def test_a_failure_leaves_the_state_of_the_files(emulator, topic, run_tap, batch_config):
    loaded = emulator.load(topic, [PAYLOAD % n for n in range(50)])
    emulator.fault("status", operation="consume", status=403, after=3)
    run = run_tap(topics=[topic], batch_config=batch_config, batch_size=10)
    assert run.exit_code == 1
    [line] = run.error_lines
    assert "topic_1 (topic 1): HTTP 403" in line
    assert batched(run) == loaded[:20]
    rest = run_tap(topics=[topic], batch_config=batch_config, state=run.states[-1])
    assert batched(rest) == loaded[20:]


def test_a_signal_leaves_the_state_of_the_files(emulator, topic, start_tap, batch_config):
    """What was read for an incomplete file is not covered."""
    loaded = emulator.load(topic, [PAYLOAD % n for n in range(50)])
    emulator.fault("stall", operation="consume", after=3, secs=20)

    tap = start_tap(topics=[topic], batch_config=batch_config, batch_size=10)
    tap.wait_for(lambda so_far: so_far.states, "the state of the first file")
    eventually(lambda: len(consumed(emulator)) == 4, "the request that stalls")
    tap.send(signal.SIGTERM)
    ended = tap.end(within=10)

    assert ended.exit_code == 0
    assert batched(ended) == loaded[:20]
    assert bookmark(ended.states[-1], "topic_1") == loaded[19]
    assert "Traceback" not in ended.stderr
