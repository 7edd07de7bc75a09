"""A message key identifies a version of a row: the same in every run, another after an update."""

import re
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.singer_lines import raw_record, record, schema
from tests.support.target import RunTarget

FORMAT = re.compile("[0-9a-f]{32}-[0-9a-f]{32}")


@pytest.mark.parametrize(
    "settings", [{}, {"add_record_metadata": True}, {"payload_field": "payload"}]
)
@pytest.mark.parametrize("keys", [("id",), ()])
def test_each_run_adds_the_same_key(emulator, topic, run_target, settings, keys):
    """Publishing a field of the record, or metadata that differs between runs, changes no key."""
    properties: dict[str, Any] = {"id": {"type": "integer"}, "payload": {"type": "object"}}
    records = [record(id=n, payload={"n": n}) for n in range(3)]
    fed = [schema("orders", keys, **properties), *records]
    for _ in range(2):
        assert run_target(*fed, message_key_field="message_key", **settings).exit_code == 0
    found = [payload["message_key"] for payload in emulator.payloads(topic)]
    assert found[:3] == found[3:]
    assert len(set(found)) == 3
    assert all(FORMAT.fullmatch(each) for each in found)


def test_the_key_of_a_row_outlives_its_deletion(emulator, topic, run_target):
    """A deletion is another version of the row, and the time of the deletion does not matter."""
    line: dict[str, Any] = {"id": 1, "line": 2}
    fed = [line, {**line, "_sdc_deleted_at": "2026-11-24"}, {**line, "_sdc_deleted_at": "later"}]
    row, deleted, again = keys_of(emulator, topic, run_target, *fed)
    assert deleted == again
    assert row[:32] == deleted[:32]
    assert row[33:] != deleted[33:]


def test_a_row_with_null_in_its_key_is_identified_by_its_content(emulator, topic, run_target):
    """A composite key is complete or none: two such rows are never taken for one."""
    null: dict[str, Any] = {"id": 1, "line": None}
    fed = [{**null, "v": 1}, {**null, "v": 2}, {"id": 1, "v": 1}]
    found = keys_of(emulator, topic, run_target, *fed)
    assert all(key[:32] == key[33:] for key in found)
    assert len(set(found)) == 3


def keys_of(
    emulator: Emulator, topic: int, run_target: RunTarget, *records: dict[str, Any]
) -> list[str]:
    """Publish rows with the key properties `id` and `line`, and return their message keys."""
    described = schema("orders", ("id", "line"), id={}, line={}, v={})
    fed = (record(**fields) for fields in records)
    assert run_target(described, *fed, message_key_field="message_key").exit_code == 0
    return [payload["message_key"] for payload in emulator.payloads(topic)]


def test_the_rest_of_the_record_stays_as_it_came(emulator, topic, run_target):
    """The key is added at the end of the record."""
    run_target(schema(), raw_record(b'{ "id" : 1.10 }'), raw_record(b"{}"), message_key_field="k")
    first, second = [message.payload for message in emulator.messages(topic)]
    assert first.startswith(b'{ "id" : 1.10 ,"k":"')
    assert second.startswith(b'{"k":"')
