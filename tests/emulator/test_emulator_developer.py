"""The Developer API: list, create, update, purge and delete topics."""

import pytest

FIELDS = [
    {"name": "total", "type": "number", "optional": True, "label": "Total"},
    {"name": "lines", "type": "array", "of": "object", "properties": [{"name": "sku"}]},
]


def test_topics_are_listed_in_pages(emulator, api):
    ids = [emulator.create_topic(f"Topic {n}") for n in range(5)]
    response = api.developer("GET", "?page=2&per_page=2").json()
    assert response["count"] == 5
    assert [topic["id"] for topic in response["data"]] == ids[2:4]
    assert api.developer("GET", "?page=4&per_page=2").json()["data"] == []
    assert len(api.developer("GET").json()["data"]) == 5


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?name=orders", ["Orders", "Old orders"]),
        ("?sort=name", ["Old orders", "Orders", "Refunds"]),
        ("?sort=-name", ["Refunds", "Orders", "Old orders"]),
    ],
)
def test_topics_can_be_filtered_and_sorted(emulator, api, query, names):
    for name in ("Orders", "Refunds", "Old orders"):
        emulator.create_topic(name)
    assert [topic["name"] for topic in api.developer("GET", query).json()["data"]] == names


def test_schemas_are_listed_on_request(emulator, api):
    topic = emulator.create_topic("Orders", schema=FIELDS, retention=86_400)
    whole = {"id": topic, "name": "Orders", "description": "", "retention": 86_400}
    assert api.developer("GET").json()["data"] == [whole]
    whole["schema"] = FIELDS
    assert api.developer("GET", "?include_schema=true").json()["data"] == [whole]
    assert api.developer("GET", f"/{topic}").json() == {"data": whole}


def test_a_topic_can_be_created_and_used(emulator, api):
    request = {"name": "Orders", "schema": FIELDS, "description": "All of them"}
    made = api.developer("POST", json=request).json()["data"]
    assert made == {**request, "id": made["id"], "retention": 604_800}
    assert api.publish(made["id"], '{"total": "1", "lines": []}').status_code == 400
    assert api.publish(made["id"], '{"total": 1, "lines": [{"sku": "a"}]}').status_code == 200
    assert len(emulator.messages(made["id"])) == 1


def test_an_update_changes_only_the_given_fields(emulator, api):
    topic = emulator.create_topic("Orders", schema=FIELDS)
    changed = api.developer("PUT", f"/{topic}", json={"retention": 3600}).json()["data"]
    assert (changed["name"], changed["retention"], changed["schema"]) == ("Orders", 3600, FIELDS)
    assert api.developer("GET", f"/{topic}").json()["data"] == changed


def test_a_topic_can_be_purged_and_deleted(emulator, api, topic):
    [old] = emulator.load(topic, [{}])
    assert api.developer("PUT", f"/{topic}/purge").status_code == 200
    assert api.page(topic) == []
    assert api.consume(topic, after_message_id=old).status_code == 400
    [new] = emulator.load(topic, [{}])
    assert new != old
    assert api.developer("DELETE", f"/{topic}").status_code == 200
    assert api.consume(topic).status_code == 404
    assert api.developer("GET", f"/{topic}").status_code == 404


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
def test_invalid_topics_are_rejected(api, body):
    assert api.developer("POST", json=body).status_code == 400
    assert api.developer("GET").json()["count"] == 0


@pytest.mark.parametrize("query", ["?page=0", "?page=x", "?per_page=0", "?sort=colour"])
def test_invalid_queries_are_rejected(api, query):
    assert api.developer("GET", query).status_code == 400
