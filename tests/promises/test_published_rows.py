"""A target with a store publishes what differs from a row's last message, and nothing twice."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import psycopg
import pytest
from workato_streams_emulator import Emulator

from tests.support.injection import KILL_MOMENTS, injected, killed
from tests.support.running import eventually
from tests.support.singer_lines import record, schema, state

# Files cannot grow beyond this size, as on a full disk.
FULL = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""
# Root could write all files; see capset(2).
WITHOUT_PRIVILEGES = """
    import ctypes, struct
    ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
"""
# The clock is some days ahead, and the number of rows in each update of their days is logged.
DAYS_LATER = """
    import time
    from target_workato_streams.delivery import store
    now, touch = time.time, store.Store.touch
    time.time = lambda: now() + {0} * 86_400
    def logged(self, topic, rows):
        with open({1!r}, "a") as file:
            print(len(rows), file=file)
        touch(self, topic, rows)
    store.Store.touch = logged
"""


@pytest.fixture(params=["file", "postgresql"])
def url(request, tmp_path):
    """A new store in each kind of database."""
    if request.param == "file":
        return f"file://{tmp_path}/published-rows.db"
    host = request.getfixturevalue("postgres").socket
    return f"postgresql://postgres:pg-secret@/postgres?host={host}&name=t{abs(hash(tmp_path))}"[
        :250
    ]


def table(**values: str) -> list[bytes]:
    """A table of 25 rows with a key, and the state after it."""
    rows = [record(id=n, v=values.get(f"r{n}", "a")) for n in range(25)]
    keys = schema("orders", ("id",), id={"type": "integer"}, v={"type": "string"})
    return [keys, *rows, state("end")]


def versions(emulator: Emulator, topic: int) -> list[tuple[int, str]]:
    """The rows in the topic, in order."""
    return [(payload["id"], payload["v"]) for payload in emulator.payloads(topic)]


@pytest.mark.parametrize("exactly_once", [False, True])
def test_five_nights_publish_what_has_changed(emulator, topic, run_target, url, exactly_once):
    """Without `exactly_once`, no message key, no permission to consume and no request is needed."""
    published, settings = [], {"published_rows_url": url, "exactly_once": exactly_once}
    for night in range(5):
        before = len(emulator.messages(topic))
        done = run_target(*table(**({"r3": f"night {night}"} if night else {})), **settings)
        assert (done.exit_code, done.emitted_states) == (0, [{"at": "end"}])
        published.append(len(emulator.messages(topic)) - before)
    assert published == [25, 1, 1, 1, 1]
    assert "1 published, 24 unchanged" in done.stderr
    consumed = [r for r in emulator.requests() if r.operation == "consume"]
    assert len(consumed) == (1 if exactly_once else 0)  # only for the new store
    assert all(("message_key" in payload) == exactly_once for payload in emulator.payloads(topic))


@pytest.mark.parametrize("moment", KILL_MOMENTS)
@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_kill_at_any_moment_loses_nothing(
    emulator, topic, start_target, run_target, url, moment, exactly_once, tmp_path
):
    """With `exactly_once`, nothing is duplicated either, whatever state the tap resumes from."""
    settings = {"published_rows_url": url, "exactly_once": exactly_once, "batch_size_rows": 10}
    target = start_target(env=injected(tmp_path / "site", killed(moment)), **settings)
    target.feed(*table())
    eventually(lambda: not target.is_running, "the kill")
    emulator.wait_until_idle()
    done = run_target(*table(), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "end"}])
    assert {*versions(emulator, topic)} == {(n, "a") for n in range(25)}
    if exactly_once:
        assert len(emulator.messages(topic)) == 25


@pytest.mark.parametrize("kind", ["reset_after", "reset", "cut"])
def test_a_lost_response_duplicates_nothing(emulator, topic, run_target, url, kind):
    emulator.fault(kind, operation="batch", after=2)
    settings = {"published_rows_url": url, "exactly_once": True, "batch_size_rows": 10}
    done = run_target(*table(), **settings)
    assert done.exit_code == 0, done.stderr
    assert versions(emulator, topic) == [(n, "a") for n in range(25)]
    assert "0 possibly duplicated" in done.stderr


def test_a_row_that_goes_back_is_published_again(emulator, topic, run_target, url):
    for value in ("a", "b", "a"):
        assert run_target(*table(r3=value), published_rows_url=url).exit_code == 0
    assert [v for n, v in versions(emulator, topic) if n == 3] == ["a", "b", "a"]


def test_a_rejected_row_is_not_remembered(emulator, topic, run_target, url, tmp_path):
    """It is tried again when the tap emits it."""
    settings = {
        "published_rows_url": url,
        "dead_letter_path": str(tmp_path / "dead.jsonl"),
        "max_retry_secs": 0,
    }
    emulator.fault("entry_error", indices=[3], reason="disk full")
    done = run_target(*table(), **settings)
    assert "24 published, 1 dead letter" in done.stderr
    assert "1 published, 24 unchanged" in run_target(*table(), **settings).stderr
    assert len(emulator.messages(topic)) == 25


def test_a_stream_without_a_key_is_published_each_time_with_one_warning(
    emulator, topic, run_target, url
):
    rows = [schema("orders", ()), record(id=1), record(id=1), state("end")]
    for _ in range(2):
        done = run_target(*rows, published_rows_url=url)
    assert len(emulator.messages(topic)) == 4
    assert done.stderr.count("set the key with __key_properties__") == 1


def test_positions_of_an_earlier_version_are_not_repeated(run_target):
    old = {"bookmarks": {"orders": {"at": 1}, "target-workato-streams": {"11": {}}}}
    line = json.dumps({"type": "STATE", "value": old}).encode()
    done = run_target(line, *table()[:-1], line)
    assert done.emitted_states[-1] == {"bookmarks": {"orders": {"at": 1}}}


def test_publish_again_forgets_the_rows_of_a_topic(emulator, topic, run_target, url):
    settings = {"published_rows_url": url, "exactly_once": True}
    run_target(*table(), **settings)
    wrong = run_target(args=["--publish-again", "999"], **settings)
    assert (wrong.exit_code, len(wrong.error_lines)) == (1, 1)
    assert f"it has {topic}" in wrong.stderr
    done = run_target(args=["--publish-again", str(topic)], **settings)
    assert done.exit_code == 0
    assert "forgot 25 rows" in done.stderr
    run_target(*table(), **settings)
    assert len(emulator.messages(topic)) == 50


def test_a_dry_run_counts_and_changes_nothing(emulator, topic, run_target, url):
    settings = {"published_rows_url": url, "max_requests_per_minute": 60}
    done = run_target(*table(), dry_run=True, **settings)
    assert (done.exit_code, done.stdout, emulator.requests()) == (0, b"", [])
    assert "a run would publish 25 messages (25 new, 0 changed, 0 unchanged)" in done.stderr
    run_target(*table(), **settings)
    done = run_target(*table(r3="b"), dry_run=True, **settings)
    assert "a run would publish 1 message (0 new, 1 changed, 24 unchanged)" in done.stderr
    assert "about 1 s at 60 requests per minute" in done.stderr
    assert len(emulator.messages(topic)) == 25


def test_two_runs_cannot_share_a_topic_and_a_store(emulator, topic, start_target, run_target, url):
    first = start_target(published_rows_url=url, max_batch_age_secs=0.1)
    first.feed(*table()[:10])
    eventually(lambda: emulator.messages(topic), "the first messages")
    second = run_target(*table(r3="b"), published_rows_url=url)
    assert (second.exit_code, second.emitted_states) == (1, [])
    (line,) = second.error_lines
    assert "another run publishes to this topic with the same published_rows_url" in line
    assert (3, "b") not in versions(emulator, topic)
    first.close_input()
    assert first.end(within=20).exit_code == 0


def damaged(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def of_another_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE workato_streams_version (version integer)")
        db.execute("INSERT INTO workato_streams_version VALUES (99)")
    db.close()


def read_only(path: Path) -> None:
    sqlite3.connect(path).close()
    path.chmod(0o400)


def in_read_only_folder(path: Path) -> None:
    path.parent.chmod(0o500)


@pytest.mark.parametrize(
    ("make", "reason", "remedy"),
    [
        (damaged, "not a database", "move away a file that is damaged"),
        (of_another_version, "tables of version 99", "use the version that has created it"),
        (read_only, "readonly database", "check that the file and its folder can be written"),
        (in_read_only_folder, "unable to open", "check that the file and its folder can be"),
    ],
)
@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_store_that_cannot_be_used_is_one_line(
    emulator, run_target, tmp_path, make, reason, remedy, exactly_once
):
    """Nothing is published that would not be remembered."""
    path = tmp_path / "store" / "published-rows.db"
    path.parent.mkdir()
    make(path)
    settings = {"published_rows_url": path.as_uri(), "exactly_once": exactly_once}
    done = run_target(*table(), env=injected(tmp_path / "site", WITHOUT_PRIVILEGES), **settings)
    assert (done.exit_code, done.emitted_states, emulator.requests()) == (1, [], [])
    (line,) = done.error_lines
    assert "published_rows_url: " in line
    assert reason in line
    assert remedy in line.partition(reason)[2]


def test_a_folder_that_is_missing_is_an_error(emulator, run_target):
    done = run_target(*table(), published_rows_url="file:///missing/published-rows.db")
    assert (done.exit_code, done.emitted_states, emulator.requests()) == (1, [], [])
    reason = "published_rows_url: the folder /missing does not exist; create it"
    assert done.error_lines[0].endswith(reason)


def test_a_server_that_cannot_be_reached_is_one_line(emulator, run_target, refused_port):
    url = f"postgresql://postgres:pg-secret@127.0.0.1:{refused_port}/postgres"
    done = run_target(*table(), published_rows_url=url)
    assert (done.exit_code, done.emitted_states, emulator.requests()) == (1, [], [])
    (line,) = done.error_lines
    assert f"published_rows_url: cannot use postgresql://127.0.0.1:{refused_port}/postgres" in line
    assert "check that the server is running" in line
    assert "pg-secret" not in done.stderr


@pytest.mark.parametrize("size", [100, 60_000, 68_000])
def test_a_full_disk_ends_the_run(emulator, topic, run_target, tmp_path, size):
    """What was published is remembered or in doubt, so the next run duplicates nothing."""
    path = tmp_path / "published-rows.db"
    settings = {"published_rows_url": path.as_uri(), "exactly_once": True, "batch_size_rows": 2}
    keys, *rows, _ = table()
    fed = [keys]
    for number, row in enumerate(rows):
        fed += [row, state(number)]
    done = run_target(*fed, env=injected(tmp_path / "site", FULL.format(size)), **settings)
    assert done.exit_code == 1
    (line,) = done.error_lines
    assert f"published_rows_url: cannot use file://{path} (" in line
    assert "check that the file and its folder can be written and that the disk has space" in line
    published = len(emulator.messages(topic))
    assert published < 25
    assert all(each["at"] < published for each in done.emitted_states)
    done = run_target(*fed, **settings)
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": 24})
    assert versions(emulator, topic) == [(n, "a") for n in range(25)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (os.replace, "was replaced by another file during the run; run again"),
        (lambda _, path: path.unlink(), "No such file or directory"),
    ],
)
def test_a_file_that_is_replaced_or_removed_during_a_run_ends_it(
    emulator, topic, start_target, tmp_path, change, reason
):
    """Otherwise, what the rest of the run publishes would not be remembered."""
    path, copy = tmp_path / "published-rows.db", tmp_path / "copy.db"
    target = start_target(published_rows_url=path.as_uri(), max_batch_age_secs=0.1)
    target.feed(*table()[:10])
    eventually(lambda: emulator.messages(topic), "the first messages")
    shutil.copy(path, copy)
    change(copy, path)
    target.feed(*table()[10:])
    target.close_input()
    done = target.end(within=20)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert "published_rows_url: " in line
    assert reason in line
    assert max(versions(emulator, topic)) < (10, "")


def test_rows_that_have_not_come_for_days_are_published_again(
    emulator, topic, run_target, url, tmp_path
):
    """The day of a row is stored once a day at most, however often the row comes."""
    touched = tmp_path / "touched"
    touched.touch()

    def night(day: int, fed: list[bytes]) -> list[int]:
        """Run the target on a day; return which rows it publishes."""
        before = len(emulator.messages(topic))
        code = DAYS_LATER.format(day, str(touched))
        env = injected(tmp_path / f"day {day}", code)
        done = run_target(*fed, env=env, published_rows_url=url, published_rows_days=8)
        assert done.exit_code == 0, done.stderr
        return [n for n, _ in versions(emulator, topic)[before:]]

    keys, *rows, end = table()
    assert night(0, table()) == [*range(25)]
    assert touched.read_text() == ""
    for _ in range(2):
        assert night(8, [keys, *rows[1:], *rows[1:], end]) == []
        assert touched.read_text() == "24\n"
    assert night(8, [keys, rows[0], end]) == []
    assert touched.read_text() == "24\n1\n"
    assert night(17, [keys, *rows[1:], end]) == []
    assert night(18, table()) == [0]


def test_a_server_that_is_lost_ends_the_run(emulator, topic, start_target, postgres):
    """Its lock is gone, too, so the run can't go on."""
    address = f"postgresql://postgres:pg-secret@/postgres?host={postgres.socket}"
    target = start_target(published_rows_url=f"{address}&name=lost", max_batch_age_secs=0.1)
    target.feed(*table()[:10])
    eventually(lambda: emulator.messages(topic), "the first messages")
    with psycopg.connect(address, autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND pid != pg_backend_pid()"
        )
    target.feed(*table()[10:])
    target.close_input()
    done = target.end(within=20)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert "published_rows_url: cannot use postgresql://" in line
    assert "pg-secret" not in done.stderr
