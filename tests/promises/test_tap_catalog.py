"""A catalog selects streams; it cannot lose messages, and a run that reads nothing says so."""

from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.tap import bookmark, deselect, discover
from tests.support.tap_output import ids

ORDERS: dict[str, Any] = {"topics": [{"id": 1, "name": "orders"}]}


@pytest.fixture
def published(emulator: Emulator) -> list[str]:
    """Topic 1 with five messages."""
    return emulator.load(emulator.create_topic("Orders", id=1), [{"n": n} for n in range(5)])


def test_the_error_names_the_catalog_file(emulator, run_tap):
    emulator.create_topic(id=1)
    done = run_tap(topics=[1], catalog={"streams": None})
    assert (done.exit_code, done.stdout) == (1, b"")
    [line] = done.error_lines
    assert 'catalog.json: not a catalog: streams: null is not of type "array"' in line
    assert emulator.requests() == []


@pytest.mark.parametrize("start_from", ["earliest", "latest"])
@pytest.mark.parametrize("change", ["other key", "no key", "no metadata"])
def test_the_replication_key_is_always_message_id(emulator, published, run_tap, change, start_from):
    settings = {**ORDERS, "start_from": start_from}
    catalog = discover(run_tap, **settings)
    [entry] = catalog["streams"]
    entry.pop("replication_method")
    if change == "other key":
        entry["replication_key"] = "time"
    elif change == "no key":
        entry.pop("replication_key")
        for item in entry["metadata"]:
            item["metadata"].pop("replication-key", None)
    else:
        catalog["streams"] = [{"tap_stream_id": "orders", "schema": entry["schema"]}]
    first = run_tap(catalog=catalog, **settings)
    assert ids(first) == (published if start_from == "earliest" else [])
    later = emulator.load(1, [{"n": 6}])
    second = run_tap(catalog=catalog, state=first.states[-1], **settings)
    assert ids(second) == later
    assert second.states[-1]["bookmarks"]["orders"]["replication_key"] == "message_id"
    assert bookmark(second.states[-1], "orders") == later[-1]
    [schema] = [message for message in second.messages if message["type"] == "SCHEMA"]
    assert schema["key_properties"] == ["message_id"]


def test_a_key_that_nested_records_do_not_have_is_an_error(published, run_tap):
    """A loader would fail, or merge all rows into one."""
    assert published
    catalog = discover(run_tap, **ORDERS)
    catalog["streams"][0]["key_properties"] = ["n"]
    run = run_tap(catalog=catalog, **ORDERS)
    assert (run.exit_code, run.records()) == (1, [])
    [line] = run.error_lines
    assert "orders (topic 1): the records have no n, which is a key property; " in line


def test_a_renamed_topic_keeps_the_name_in_the_catalog(published, run_tap):
    """A topic is identified by its id, so selection and bookmark stay its own."""
    catalog = discover(run_tap, **ORDERS)
    renamed = {"topics": [{"id": 1, "name": "sales"}]}
    assert ids(run_tap(catalog=catalog, **renamed), "orders") == published


def test_a_name_in_the_catalog_that_differs_from_its_id_is_reported(published, run_tap):
    """A run would otherwise write another table than the catalog says."""
    catalog = discover(run_tap, **ORDERS)
    catalog["streams"][0]["stream"] = "sales"
    done = run_tap(catalog=catalog, **ORDERS)
    assert ids(done, "orders") == published
    assert done.warnings == [
        "orders: ignoring the name sales in the catalog; to rename a stream, set name in topics"
    ]


def test_a_stream_whose_topic_is_gone_is_reported(emulator, published, run_tap):
    emulator.create_topic("Returns", id=2)
    both = {"topics": [*ORDERS["topics"], {"id": 2, "name": "returns"}]}
    catalog = discover(run_tap, **both)
    done = run_tap(catalog=catalog, **ORDERS)
    assert ids(done) == published
    assert {request.topic_id for request in emulator.requests()} == {1}
    assert done.warnings == [
        (
            "returns: selected in the catalog, but the topic no longer exists, so not read; "
            "run discovery again (Meltano: --refresh-catalog)"
        )
    ]


def test_topics_that_are_missing_from_the_catalog_are_reported(
    emulator, published, run_tap, developer
):
    """One line says how to add them, because Meltano caches the catalog. None is sampled."""
    unpacked = {**developer, "record_format": "unpacked"}
    catalog = discover(run_tap, **unpacked)
    for number in (2, 3):
        emulator.load(emulator.create_topic(f"New {number}", id=number), [{}])
    done = run_tap(catalog=catalog, **unpacked)
    assert ids(done) == published
    assert {request.topic_id for request in emulator.requests(operation="consume")} == {1}
    assert done.warnings == [
        (
            "new_2, new_3: not in the catalog, so not read; to add new topics, run discovery again "
            "(Meltano: --refresh-catalog)"
        )
    ]


def test_a_run_without_a_selected_stream_fails(emulator, published, run_tap):
    """It would read nothing, run after run."""
    assert published
    catalog = discover(run_tap, **ORDERS)
    deselect(catalog)
    done = run_tap(catalog=catalog, **ORDERS)
    assert done.exit_code == 1
    assert "no stream to read: select at least one" in done.error_lines[-1]
    assert emulator.requests() == []


@pytest.mark.parametrize(("made_for", "run_with"), [("nested", "unpacked"), ("unpacked", "nested")])
def test_a_catalog_for_another_record_format_is_rejected(
    emulator, published, run_tap, made_for, run_with
):
    """Its columns would not be those of the records."""
    assert published
    catalog = discover(run_tap, record_format=made_for, **ORDERS)
    emulator.clear_requests()
    error = f"orders: the catalog was made for record_format {made_for}, not {run_with}; run disc"
    done = run_tap(catalog=catalog, record_format=run_with, **ORDERS)
    assert done.exit_code == 1
    assert error in done.error_lines[-1]
    assert emulator.requests() == []
