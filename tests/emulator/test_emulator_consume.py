"""The consume endpoint: pages, cursors and times."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api

YEARS = 100 * 365 * 86_400


def numbered(count: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(count)]


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    return [message["payload"]["n"] for message in messages]


def test_pages_follow_one_another_to_the_empty_page(emulator: Emulator, api: Api) -> None:
    """Paging with `after_message_id` gives each message once and in order, then an empty page."""
    topic_id = emulator.create_topic()
    ids = emulator.load(topic_id, numbered(120))
    read: list[dict[str, Any]] = []
    sizes = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.page(topic_id, **cursor)
        sizes.append(len(page))
        if not page:
            break
        read += page
        cursor = {"after_message_id": page[-1]["message_id"]}
    assert sizes == [50, 50, 20, 0]
    assert numbers(read) == list(range(120))
    assert [message["message_id"] for message in read] == ids


def test_a_body_is_optional(emulator: Emulator, api: Api) -> None:
    """A consume request without a body reads from the start."""
    topic_id = emulator.create_topic()
    emulator.load(topic_id, numbered(2))
    response = api.post(f"/api/v1/topics/{topic_id}/consume")
    assert numbers(response.json()["messages"]) == [0, 1]


def test_batch_size_and_page_limit_shorten_a_page(emulator: Emulator, api: Api) -> None:
    """A page has `batch_size` messages, or fewer if `page_limit` is lower."""
    topic_id = emulator.create_topic()
    emulator.load(topic_id, numbered(10))
    assert numbers(api.page(topic_id, batch_size=3)) == [0, 1, 2]
    emulator.configure(page_limit=2)
    assert numbers(api.page(topic_id, batch_size=3)) == [0, 1]


def test_topics_do_not_share_messages_or_ids(emulator: Emulator, api: Api) -> None:
    """Messages of another topic are not returned, and their ids are unknown."""
    one, other = emulator.create_topic("one"), emulator.create_topic("other")
    (id_of_one,) = emulator.load(one, [{"n": 1}])
    emulator.load(other, [{"n": 2}])
    assert numbers(api.page(other)) == [2]
    assert api.consume(other, after_message_id=id_of_one).status_code == 400


def test_since_time_is_exclusive(emulator: Emulator, api: Api) -> None:
    """`since_time` returns newer messages only, with millisecond precision and any UTC offset."""
    topic_id = emulator.create_topic(retention=YEARS)
    times = [f"2023-04-14T15:07:14.{ms}Z" for ms in ("436", "437", "438")]
    emulator.load(topic_id, numbered(3), times=times)
    assert numbers(api.page(topic_id, since_time="2023-04-14T15:07:14.437Z")) == [2]
    assert numbers(api.page(topic_id, since_time="2023-04-14T17:07:14.4365+02:00")) == [1, 2]
    assert numbers(api.page(topic_id, since_time="2023-04-14T15:07:14.438+00:00")) == []
    assert api.page(topic_id)[1]["time"] == "2023-04-14T15:07:14.437+00:00"


@pytest.mark.parametrize(
    "body",
    [
        {"after_message_id": "A12y", "since_time": "2023-04-14T15:07:14Z"},
        {"after_message_id": "A12y"},
        {"after_message_id": 12},
        {"since_time": "yesterday"},
        {"since_time": "2023-04-14"},
        {"since_time": "2023-04-14T15:07:14"},
        {"since_time": "2023-02-30T15:07:14Z"},
        {"batch_size": 0},
        {"batch_size": 51},
        {"batch_size": "50"},
        {"timeout_secs": -1},
        {"timeout_secs": 61},
    ],
)
def test_bad_parameters_are_rejected(emulator: Emulator, api: Api, body: dict[str, Any]) -> None:
    """An invalid parameter gives a 400 with a message."""
    topic_id = emulator.create_topic()
    response = api.consume(topic_id, **body)
    assert response.status_code == 400
    assert response.json()["code"] == 400
    assert response.json()["message"]


def test_an_expired_cursor_does_not_exist(emulator: Emulator, api: Api) -> None:
    """After an expiry or a purge, an id is unknown; the status is configurable."""
    topic_id = emulator.create_topic()
    ids = emulator.load(topic_id, numbered(4))
    emulator.expire(topic_id, ids[1])
    assert numbers(api.page(topic_id)) == [2, 3]
    assert numbers(api.page(topic_id, after_message_id=ids[2])) == [3]
    assert api.consume(topic_id, after_message_id=ids[1]).status_code == 400
    emulator.configure(expired_status=410)
    emulator.purge(topic_id)
    assert api.page(topic_id) == []
    response = api.consume(topic_id, after_message_id=ids[2])
    assert (response.status_code, response.json()["code"]) == (410, 410)


def test_old_messages_expire(emulator: Emulator, api: Api) -> None:
    """Messages and their ids expire as the service's clock advances."""
    topic_id = emulator.create_topic(retention=3600)
    (old,) = emulator.load(topic_id, numbered(1))
    emulator.configure(clock_offset_secs=3000)
    (new,) = emulator.load(topic_id, [{"n": 1}])
    assert numbers(api.page(topic_id)) == [0, 1]
    emulator.configure(clock_offset_secs=4000)
    assert numbers(api.page(topic_id)) == [1]
    assert [message.message_id for message in emulator.messages(topic_id)] == [new]
    assert api.consume(topic_id, after_message_id=old).status_code == 400


def test_the_clock_can_be_shifted(emulator: Emulator, api: Api) -> None:
    """The Date header and the message times follow the service's clock; Date can be omitted."""
    topic_id = emulator.create_topic()
    emulator.configure(clock_offset_secs=400 * 365 * 86_400)
    emulator.load(topic_id, numbered(1))
    response = api.consume(topic_id)
    assert response.json()["messages"][0]["time"] > "2400"
    assert int(response.headers["Date"].split()[3]) >= 2400
    emulator.configure(date_header=False)
    assert "Date" not in api.consume(topic_id).headers


def test_ids_do_not_sort(emulator: Emulator) -> None:
    """Ids are unique, and neither their length nor their sort order reflects the topic order."""
    ids = emulator.load(emulator.create_topic(), numbered(5000))
    assert len(set(ids)) == 5000
    assert len({len(each) for each in ids}) > 1
    pairs = list(itertools.pairwise(ids))
    assert 1000 < sum(one < two for one, two in pairs) < 4000
    assert any(len(one) > len(two) for one, two in pairs)
    assert all(each.startswith("A") and each.isalnum() for each in ids)
