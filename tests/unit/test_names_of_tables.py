"""Which names loaders take for the same, measured with those of `make matrix`."""

from typing import Any

import pytest
from tap_workato_streams.discovery.topics import from_title, named, table_keys, table_of
from tap_workato_streams.event_streams.developer_api import WorkspaceTopic
from tap_workato_streams.reading.bookmarks import Topic
from tap_workato_streams.records.columns import folded


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Orders", "orders", True),
        ("ÉT", "ét", True),
        ("eu.orders", "eu_orders", True),
        ("eu orders", "eu__orders", True),
        ("eu/orders", "eu_orders", True),
        ("eu$orders", "euorders", True),  # Snowflake
        ("orders!", "orders", True),  # Snowflake
        (" orders", "orders", True),  # Snowflake
        ("eu-orders", "us-orders", False),
        ("eu-orders", "eu_orders", False),
        ("euorders", "eu_orders", False),
        ("é", "e", False),
        ("注文", "返品", False),
    ],
)
def test_names_of_one_table(one, other, same):
    assert (not table_keys(one).isdisjoint(table_keys(other))) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A_b", "a_b", True),
        ("a-b", "a_b", True),
        ("a b", "a_b", True),
        ("a.b", "a_b", True),
        ("ß", "SS", True),  # Snowflake
        ("a__b", "a_b", False),  # Flattened, and another field.
        ("ab", "a_b", False),
        ("é", "e", False),
    ],
)
def test_names_of_one_column(one, other, same):
    assert (folded(one) == folded(other)) is same


@pytest.mark.parametrize(
    ("stream", "table"),
    [
        ("orders", "orders"),
        ("eu-orders", "orders"),
        ("a-b-c", "c"),
        ("orders-", ""),
        ("e" * 70 + "-orders", "orders"),
        ("é" * 32, "é" * 31),  # Two bytes each, and none is cut in half.
    ],
)
def test_the_table_of_a_stream(stream, table):
    assert table_of(stream) == table


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("EU\uff0dOrders", "eu_orders"),
        ("2024 orders", "topic_2024_orders"),
        ("\uff0d", ""),
        ("x" * 70, "x" * 63),
    ],
)
def test_a_title_becomes_the_name_of_a_table(title, name):
    assert from_title(WorkspaceTopic(1, title, None, None)) == name


def names(topics: dict[int, str], *, bookmarks: dict[str, Any] | None = None) -> list[str]:
    unnamed = [Topic(topic_id, name, "earliest") for topic_id, name in topics.items()]
    return [topic.name for topic in named(unnamed, {}, bookmarks or {})]


def test_names_that_nobody_chose_stay_when_topics_are_added_or_renamed():
    """The oldest topic keeps the plain name, and a renamed one that of its bookmark."""
    long = "x" * 63
    topics = {1: long, 4: f"{'x' * 61}_3", 7: long, 8: long}
    before = names(topics)
    assert before == [long, f"{'x' * 61}_3", f"{'x' * 61}_7", f"{'x' * 61}_8"]
    assert names({**topics, 9: long})[:4] == before
    bookmarks = {name: {"topic_id": topic} for topic, name in zip(topics, before, strict=True)}
    assert names({**topics, 1: "renamed", 7: "renamed"}, bookmarks=bookmarks) == before


def test_a_new_topic_avoids_the_table_of_a_name_that_was_chosen_before():
    chosen = {"EU-Orders": {"topic_id": 1}}
    assert names({1: "x", 2: "orders"}, bookmarks=chosen) == ["EU-Orders", "orders_2"]


def test_a_name_with_a_suffix_is_still_unique():
    """The name of topic 3 with its id as the suffix belongs to topic 2."""
    taken = f"{'x' * 61}_3"
    assert names({1: "x" * 63, 2: taken, 3: "x" * 63})[2] == f"{'x' * 59}_3_3"
