"""Topic schemas: which messages match, and what happens to the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api

SCHEMA: list[dict[str, Any]] = [
    {"name": "id", "type": "integer", "optional": False},
    {"name": "title"},
    {"name": "total", "type": "number", "optional": True},
    {"name": "paid", "type": "boolean", "optional": True},
    {"name": "due", "type": "date", "optional": True},
    {"name": "made", "type": "date_time", "optional": True},
    {
        "name": "customer",
        "type": "object",
        "optional": True,
        "properties": [{"name": "city", "type": "string"}],
    },
    {
        "name": "lines",
        "type": "array",
        "of": "object",
        "optional": True,
        "properties": [{"name": "qty", "type": "integer"}],
    },
    {"name": "tags", "type": "array", "of": "string", "optional": True},
]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "7"}, "id: expected integer"),
        ({"id": 1.5}, "id: expected integer"),
        ({"id": True}, "id: expected integer"),
        ({"id": None}, "id: is missing"),
        ({"title": 5}, "title: expected string"),
        ({"total": "1"}, "total: expected number"),
        ({"paid": 0}, "paid: expected boolean"),
        ({"due": "24.11.2026"}, "due: expected date"),
        ({"made": "now"}, "made: expected date_time"),
        ({"customer": []}, "customer: expected object"),
        ({"customer": {"city": 1}}, "customer.city: expected string"),
        ({"lines": [{"qty": 1}, {"qty": "secret"}]}, "lines[1].qty: expected integer"),
        ({"tags": ["a", 1]}, "tags[1]: expected string"),
    ],
)
def test_messages_must_match_the_schema(
    emulator: Emulator, api: Api, change: dict[str, Any], reason: str
) -> None:
    """The reason has the field and type, not the value; the other messages are stored."""
    topic_id = emulator.create_topic(schema=SCHEMA)
    good = {"id": 7, "title": "secret"}
    bad = json.dumps({**good, **change})
    assert api.publish(topic_id, bad).json() == {"message": reason, "code": 400}
    response = api.batch(topic_id, json.dumps(good), bad, json.dumps(good)).json()
    assert response["is_partial_error"] is True
    assert response["message_ids"]["1"] == {"result": "error", "error": reason}
    assert [response["message_ids"][index]["result"] for index in "02"] == ["success"] * 2
    assert emulator.payloads(topic_id) == [good, good]


def test_matching_messages_are_accepted(emulator: Emulator, api: Api) -> None:
    """Optional fields may be missing or null, and fields outside the schema are accepted."""
    topic_id = emulator.create_topic(schema=SCHEMA)
    full = {
        "id": 1,
        "title": "a",
        "total": 2,
        "paid": True,
        "due": "2026-11-24",
        "made": "2026-11-24T10:00:00Z",
        "customer": {"city": "Köln"},
        "lines": [{"qty": 1}],
        "tags": [],
        "more": 1,
    }
    response = api.batch(topic_id, json.dumps(full), '{"id":1,"title":"a","total":null}')
    assert response.json()["is_partial_error"] is False


def test_a_batch_can_be_rejected_as_a_whole(emulator: Emulator, api: Api) -> None:
    """With `rejection="status"`, one bad message rejects the batch; the response names it."""
    topic_id = emulator.create_topic(schema=SCHEMA)
    emulator.configure(rejection="status", rejection_status=422)
    good, bad = '{"id":1,"title":"a"}', '{"id":"1","title":"a"}'
    response = api.batch(topic_id, good, bad, bad)
    assert response.status_code == 422
    assert response.json()["message"] == "payloads[1]: id: expected integer"
    assert emulator.messages(topic_id) == []
    emulator.configure(schema_checks=False)
    assert api.batch(topic_id, good, bad, bad).status_code == 200


def test_an_entry_that_is_not_an_object_fails(emulator: Emulator, api: Api) -> None:
    """A payload that is not an object fails, and the other entries are stored."""
    topic_id = emulator.create_topic()
    response = api.batch(topic_id, "{}", "[]").json()
    assert response["is_partial_error"] is True
    assert response["message_ids"]["1"]["result"] == "error"
    assert emulator.payloads(topic_id) == [{}]
