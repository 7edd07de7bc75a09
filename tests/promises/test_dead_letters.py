"""Dead letters can be replayed, give a reason, and are on disk before a state covers them."""

import json
import os
import subprocess
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import pytest

from tests.support.executables import command, environment
from tests.support.injection import NO_ROOM, ROOM_BYTES, ROOM_LATER, injected
from tests.support.running import eventually, never
from tests.support.singer_lines import raw_record, record, schema, state
from tests.support.target import dead_letters_in

DEAD = b'{"type":"SCHEMA","_dead_letters":true,"stream":"orders","schema":{},"key_properties":[]}\n'
TAP_OUTPUT = b'{"type":"SCHEMA","stream":"orders","schema":{},"key_properties":[]}\n{"type":"REC'
BAD = b'{"id":"7","total":1.10,"note":"\\ud800","_sdc_deleted_at":null}'


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    return tmp_path / "dead.jsonl"


def letters(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_dead_letter_is_the_record_as_received_with_the_reason_next_to_it(
    emulator, checked, run_target, dead
):
    """The file has the schema and the record, byte for byte, with `_error` beside the record."""
    described = schema(id={"type": "integer"}, total={"type": "number"})
    fed = [described, record(id=1), raw_record(BAD), record(id=2), state("all")]
    settings = {"topics": {"*": checked}, "max_retry_secs": 2, **dead_letters_in(dead)}
    done = run_target(*fed, **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [payload["id"] for payload in emulator.payloads(checked)] == [1, 2]
    first, second = letters(dead)
    assert first == json.loads(described) | {"_dead_letters": True}
    assert (second["type"], second["stream"]) == ("RECORD", "orders")
    assert b'"record":' + BAD + b"," in dead.read_bytes()
    error = second["_error"]
    assert error["topic_id"] == checked
    assert error["status"] == 200
    assert error["attempts"] > 2
    assert "integer" in error["reason"]
    assert error["time"].startswith("20")


def test_dead_letters_can_be_replayed(emulator, topic, checked, run_target, dead):
    """The same bytes are published as would have been; all schemas they need are in the file."""
    emulator.configure(rejection="status")
    wrong = [b'{"id":"%d","total":1.10}' % number for number in range(5)]
    other = schema(id={"type": "integer"}, total={"type": "number"}, more={"type": "string"})
    for part in (wrong[:2], wrong[2:]):
        fed = [raw_record(part[0]), raw_record(part[1], "others"), other]
        fed += map(raw_record, part[2:])
        settings = {"topics": {"*": checked}, **dead_letters_in(dead)}
        done = run_target(schema(), schema("others"), *fed, **settings)
        assert done.exit_code == 0
    assert emulator.payloads(checked) == []
    # The schema comes again where it has changed, and in a new run.
    assert "".join(letter["type"][0] for letter in letters(dead)) == "SRSR" + "SRSRSR"
    done = run_target(*dead.read_bytes().splitlines(), topics={"*": topic})
    assert done.exit_code == 0
    assert sorted(message.payload for message in emulator.messages(topic)) == sorted(wrong)


def test_a_replayed_record_has_the_metadata_of_its_first_run(
    emulator, topic, checked, run_target, dead
):
    """The version and the time of extraction stand beside the record, as they came in."""
    extracted = "2026-01-02T03:04:05.678901Z"
    line = record(id="7")[:-1] + b', "time_extracted": "%b", "version": 12}' % extracted.encode()
    settings = {"topics": {"*": checked}, "max_retry_secs": 1, **dead_letters_in(dead)}
    assert run_target(schema(), line, **settings).exit_code == 0
    replayed = dead.read_bytes().splitlines()
    assert run_target(*replayed, topics={"*": topic}, add_record_metadata=True).exit_code == 0
    (payload,) = emulator.payloads(topic)
    assert payload["_sdc_table_version"] == 12
    assert payload["_sdc_extracted_at"][:26] == extracted[:26]


@pytest.mark.parametrize(("limit", "exit_code"), [(None, 0), (3, 0), (2, 1), (0, 1)])
def test_more_than_max_rejected_ends_the_run(emulator, checked, run_target, dead, limit, exit_code):
    emulator.configure(rejection="status")
    fed = [record(id=n if n % 10 else str(n)) for n in range(1, 35)]
    settings = {"topics": {"*": checked}, "max_rejected": limit, **dead_letters_in(dead)}
    done = run_target(schema(), *fed, state("all"), **settings, batch_size_rows=5)
    assert done.exit_code == exit_code
    assert done.emitted_states == ([{"at": "all"}] if exit_code == 0 else [])
    written = letters(dead) if dead.exists() else []
    dead_lettered = [letter["record"]["id"] for letter in written if "record" in letter]
    assert dead_lettered == ["10", "20", "30"][: 3 if limit is None else limit]
    last = 34 if exit_code == 0 else (limit + 1) * 10 - 1
    published = [payload["id"] for payload in emulator.payloads(checked)]
    assert published == [n for n in range(1, last + 1) if n % 10]


@pytest.mark.parametrize(
    ("settings", "bad", "reason"),
    [
        ({}, {"id": 1, "pad": "x" * 1_048_576}, "limit of 1,048,576 bytes by 35 bytes"),
        ({"payload_field": "payload"}, {"id": 1}, "payload_field payload is missing"),
        ({"payload_field": "payload"}, {"payload": 7}, "payload_field payload is not an object"),
        ({"payload_field": "payload"}, {"payload": None}, "payload_field payload is not an object"),
        ({"message_key_field": "key"}, {"id": 1, "key": 1}, "already has a field key"),
    ],
)
def test_an_invalid_record_is_rejected_without_a_request(
    emulator, topic, run_target, dead, settings, bad, reason
):
    good: dict[str, Any] = {"id": 0, "payload": {"a": 1}}
    described = schema(id={"type": "integer"}, payload={}, key={}, pad={})
    settings = dead_letters_in(dead) | settings
    done = run_target(described, record(**bad), record(**good), state("all"), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.messages(topic)) == len(emulator.requests()) == 1
    letter = letters(dead)[-1]
    assert letter["record"] == bad
    assert letter["_error"]["attempts"] == 0
    assert letter["_error"]["status"] is None
    assert reason in letter["_error"]["reason"]


@pytest.mark.parametrize("record_text", [b'{"id":"b', b"[" * 100_000])
def test_an_incomplete_line_of_a_killed_run_is_removed(
    emulator, topic, checked, run_target, dead, record_text
):
    """The file stays one that can be replayed; whole lines in it stay."""
    settings = {"topics": {"*": checked}, "max_retry_secs": 1, **dead_letters_in(dead)}
    run_target(schema(), record(id="a"), **settings)
    whole = dead.read_bytes()
    dead.write_bytes(whole + b'{"type":"RECORD","stream":"orders","record":' + record_text)
    run_target(schema(), record(id="b"), **settings)
    assert dead.read_bytes().startswith(whole)
    done = run_target(*dead.read_bytes().splitlines(), topics={"*": topic})
    assert done.exit_code == 0
    assert [payload["id"] for payload in emulator.payloads(topic)] == ["a", "b"]


@pytest.mark.parametrize("ending", ["moved", "truncated", "replaced"])
def test_a_dead_letter_file_that_was_replaced_during_a_run_is_written_again(
    checked, start_target, dead, ending
):
    """As a replay or logrotate does: the new file has the schema, so it can be replayed, too."""
    settings = {"topics": {"*": checked}, "max_retry_secs": 0, **dead_letters_in(dead)}
    target = start_target(batch_size_rows=1, **settings)
    target.feed(schema(), record(id="first"), state(1))
    eventually(lambda: target.emitted, "the state after the first dead letter")
    if ending == "truncated":
        os.truncate(dead, 0)
    else:
        dead.rename(dead.parent / "replay.jsonl")
    if ending == "replaced":
        dead.write_bytes(DEAD * 20)
    target.feed(record(id="second"), state(2))
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": 2})
    assert [letter.get("record") for letter in letters(dead)[-2:]] == [None, {"id": "second"}]
    assert dead.stat().st_mode & 0o777 == 0o600


def test_pipelines_may_share_a_dead_letter_file(checked, run_target, start_target, dead):
    """What one of them wrote of a line when the disk was full is removed before the next line."""
    settings = {"topics": {"*": checked}, "max_retry_secs": 0, **dead_letters_in(dead)}
    target = start_target(batch_size_rows=1, **settings)
    target.feed(schema(), record(id="first"), state(1))
    eventually(lambda: target.emitted, "the state after the first dead letter")
    env = injected(dead.parent / "site", ROOM_LATER)
    fed = [record("others", id=str(number)) for number in range(50)]
    assert run_target(schema("others"), *fed, env=env, **settings).exit_code == 1
    with dead.open("rb") as other:
        flock(other, LOCK_EX)  # as while another process writes
        size = dead.stat().st_size
        target.feed(record(id="second"), state(2))
        never(lambda: dead.stat().st_size != size, "a line within another one")
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": 2})
    assert letters(dead)[-1]["record"] == {"id": "second"}


# As ext4 does: the second call succeeds although the pages are lost.
FIRST_FSYNC_FAILS = """
    import os, stat
    synced, failed = os.fsync, []
    def fsync(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and not failed:
            failed.append(True)
            raise OSError(5, "Input/output error")
        synced(descriptor)
    os.fsync = fsync
"""


@pytest.mark.parametrize(
    ("fault", "reason"), [(NO_ROOM, "File too large"), (FIRST_FSYNC_FAILS, "Input/output error")]
)
def test_no_state_follows_a_dead_letter_that_could_not_be_written(
    checked, start_target, dead, fault, reason
):
    """A failed flush ends the run, and only earlier states are emitted: no flush is repeated."""
    env = injected(dead.parent / "site", fault)
    settings = {"topics": {"*": checked}, "max_retry_secs": 0, **dead_letters_in(dead)}
    target = start_target(env=env, batch_size_rows=1, **settings)
    target.feed(schema(), record(id=1), state("before"))
    eventually(lambda: target.emitted, "the state before the failure")
    target.feed(record(id="bad"), *(state(n) for n in range(5)), record(id="bad"))
    target.feed(*(line for n in range(50) for line in (record(id=n), state(n))))
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    (line,) = done.error_lines
    assert f"dead_letter_path {dead}: {reason}" in line


def test_nothing_is_written_after_a_failed_dead_letter(checked, run_target, dead):
    """The file ends within a line; neither the other records of the batch nor a state follow."""
    fed = [line for number in range(50) for line in (record(id="bad"), state(number))]
    env = injected(dead.parent / "site", ROOM_LATER)
    settings = {"topics": {"*": checked}, "max_retry_secs": 0, **dead_letters_in(dead)}
    done = run_target(state("before"), schema(), *fed, env=env, batch_size_rows=50, **settings)
    assert done.exit_code == 1
    (line,) = done.error_lines
    assert f"dead_letter_path {dead}: File too large" in line
    whole, _, cut = dead.read_bytes().rpartition(b"\n")
    assert len(whole) + 1 + len(cut) == ROOM_BYTES
    assert cut
    # The file has room for a few of the records.
    covered = whole.count(b'"RECORD"')
    assert {state["at"] for state in done.emitted_states} <= {"before", *range(covered)}


def test_the_dead_letter_file_cannot_be_the_input(emulator, target_config, dead):
    """A replay that appends to its own input would never end."""
    dead.write_bytes(DEAD + record(id=1) + b"\n")
    config = target_config(**dead_letters_in(dead))
    with dead.open("rb") as file:
        done = subprocess.run(
            command("target-workato-streams", "--config", config),
            stdin=file,
            capture_output=True,
            check=False,
            timeout=30,
            env=environment(),
        )
    assert done.returncode == 1
    assert b"is also the input; move the file" in done.stderr
    assert emulator.requests() == []


@pytest.mark.parametrize("existing", [None, b"", b'{"type":"SCH', DEAD])
def test_only_the_owner_can_read_dead_letters(checked, run_target, dead, existing):
    """Dead letters contain payloads; a file that exists already loses its other permissions."""
    if existing is not None:
        dead.write_bytes(existing)
        dead.chmod(0o644)
    settings = {"topics": {"*": checked}, "max_retry_secs": 1, **dead_letters_in(dead)}
    assert run_target(schema(), record(id="a"), **settings).exit_code == 0
    assert dead.stat().st_mode & 0o777 == 0o600
    assert [letter["record"]["id"] for letter in letters(dead) if "record" in letter][-1] == "a"


@pytest.mark.parametrize(
    "content", [b"a list\nwithout a final line break", b"[1]", TAP_OUTPUT, b"\n"]
)
def test_another_file_is_not_taken_for_a_dead_letter_file(
    emulator, checked, run_target, dead, content
):
    """It stays as it is: the error comes before the first request."""
    dead.write_bytes(content)
    settings = {"topics": {"*": checked}, "max_retry_secs": 1, **dead_letters_in(dead)}
    done = run_target(schema(), record(id="a"), **settings)
    assert done.exit_code == 1
    assert "dead_letter_path: the file exists and contains something else" in done.error_lines[0]
    assert dead.read_bytes() == content
    assert emulator.requests() == []


def test_after_a_kill_every_covered_message_is_published_or_in_the_file(
    emulator, checked, start_target, dead
):
    """What an emitted state covers is in the topic or in the file, at any moment."""
    emulator.configure(rejection="status", latency_secs=0.005)
    fed = []
    for number in range(300):
        fed.append(record(id=number if number % 5 else str(number)))
        fed.append(state(number))
    settings = {"topics": {"*": checked}, **dead_letters_in(dead)}
    target = start_target(**settings, batch_size_rows=10)
    target.feed(schema(), *fed)
    eventually(lambda: len(target.emitted) > 5, "some states")
    target.kill()
    covered = range(target.emitted[-1] + 1)
    published = {payload["id"] for payload in emulator.payloads(checked)}
    whole = [line for line in dead.read_bytes().split(b"\n")[:-1] if b'"RECORD"' in line]
    dead_lettered = {int(json.loads(line)["record"]["id"]) for line in whole}
    assert set(covered) <= published | dead_lettered
    assert {number for number in covered if number % 5 == 0} <= dead_lettered
