"""The Developer API: list, create, update, purge and delete topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api

FIELDS: list[dict[str, Any]] = [
    {"name": "total", "type": "number", "optional": True, "label": "Total"},
    {"name": "lines", "type": "array", "of": "object", "properties": [{"name": "sku"}]},
]


def test_topics_are_listed_in_pages(emulator: Emulator, api: Api) -> None:
    """`count` is the number of all topics, and `data` contains the requested page."""
    ids = [emulator.create_topic(f"Topic {n}") for n in range(5)]
    response = api.developer("GET", "?page=2&per_page=2").json()
    assert response["count"] == 5
    assert [topic["id"] for topic in response["data"]] == ids[2:4]
    assert api.developer("GET", "?page=4&per_page=2").json()["data"] == []
    assert len(api.developer("GET").json()["data"]) == 5


def test_topics_can_be_filtered_and_sorted(emulator: Emulator, api: Api) -> None:
    """`name` filters the list, and `sort` orders it; a minus means descending."""
    for name in ("Orders", "Refunds", "Old orders"):
        emulator.create_topic(name)
    names = {
        query: [topic["name"] for topic in api.developer("GET", query).json()["data"]]
        for query in ("?name=orders", "?sort=name", "?sort=-name")
    }
    assert names["?name=orders"] == ["Orders", "Old orders"]
    assert names["?sort=name"] == ["Old orders", "Orders", "Refunds"]
    assert names["?sort=-name"] == ["Refunds", "Orders", "Old orders"]


def test_schemas_are_listed_on_request(emulator: Emulator, api: Api) -> None:
    """The list has schemas with `include_schema=true` only; a single topic always has its own."""
    topic_id = emulator.create_topic("Orders", schema=FIELDS, retention=86_400)
    whole = {"id": topic_id, "name": "Orders", "description": "", "retention": 86_400}
    assert api.developer("GET").json()["data"] == [whole]
    whole["schema"] = FIELDS
    assert api.developer("GET", "?include_schema=true").json()["data"] == [whole]
    assert api.developer("GET", f"/{topic_id}").json() == {"data": whole}


def test_a_topic_can_be_created_and_used(emulator: Emulator, api: Api) -> None:
    """A new topic validates messages, and its default retention is 7 days."""
    request = {"name": "Orders", "schema": FIELDS, "description": "All of them"}
    made = api.developer("POST", json=request).json()["data"]
    assert made == {**request, "id": made["id"], "retention": 604_800}
    assert api.publish(made["id"], '{"total": "1", "lines": []}').status_code == 400
    assert api.publish(made["id"], '{"total": 1, "lines": [{"sku": "a"}]}').status_code == 200
    assert len(emulator.messages(made["id"])) == 1


def test_a_topic_can_be_updated(emulator: Emulator, api: Api) -> None:
    """An update changes only the given fields."""
    topic_id = emulator.create_topic("Orders", schema=FIELDS)
    changed = api.developer("PUT", f"/{topic_id}", json={"retention": 3600}).json()["data"]
    assert (changed["name"], changed["retention"], changed["schema"]) == ("Orders", 3600, FIELDS)
    assert api.developer("GET", f"/{topic_id}").json()["data"] == changed


def test_a_topic_can_be_purged_and_deleted(emulator: Emulator, api: Api) -> None:
    """A purge removes the messages and their ids; a delete also removes the topic."""
    topic_id = emulator.create_topic()
    (old,) = emulator.load(topic_id, [{}])
    assert api.developer("PUT", f"/{topic_id}/purge").status_code == 200
    assert api.page(topic_id) == []
    assert api.consume(topic_id, after_message_id=old).status_code == 400
    (new,) = emulator.load(topic_id, [{}])
    assert new != old
    assert api.developer("DELETE", f"/{topic_id}").status_code == 200
    assert api.consume(topic_id).status_code == 404
    assert api.developer("GET", f"/{topic_id}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": 7},
        {"name": "a", "retention": 0},
        {"name": "a", "retention": 90 * 86_400 + 1},
        {"name": "a", "schema": {}},
        {"name": "a", "schema": [{"type": "string"}]},
        {"name": "a", "schema": [{"name": "x", "type": "text"}]},
        {"name": "a", "schema": [{"name": "x", "type": "array"}]},
        {"name": "a", "schema": [{"name": "x", "type": "array", "of": "object"}]},
        {"name": "a", "schema": [{"name": "x", "type": "object"}]},
    ],
)
def test_invalid_topics_are_rejected(api: Api, body: dict[str, Any]) -> None:
    """A missing name, an invalid retention or an invalid schema gives a 400."""
    assert api.developer("POST", json=body).status_code == 400
    assert api.developer("GET").json()["count"] == 0


@pytest.mark.parametrize("query", ["?page=0", "?page=x", "?per_page=0", "?sort=colour"])
def test_invalid_queries_are_rejected(api: Api, query: str) -> None:
    """An invalid page number or sort field gives a 400."""
    assert api.developer("GET", query).status_code == 400
