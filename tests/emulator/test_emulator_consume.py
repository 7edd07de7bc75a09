"""The consume endpoint: cursors, times and the end of long polls."""

import itertools

import pytest
import requests

from tests.support.running import eventually

YEARS = 100 * 365 * 86_400


def numbered(count: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(count)]


def test_a_body_is_optional(emulator, api, topic):
    emulator.load(topic, numbered(2))
    response = api.post(f"/api/v1/topics/{topic}/consume", b"")
    assert response.json()["messages"] == api.page(topic) != []


def test_topics_do_not_share_messages_or_ids(emulator, api, topic):
    other = emulator.create_topic("other")
    [id_of_one] = emulator.load(topic, [{"n": 1}])
    emulator.load(other, [{"n": 2}])
    assert api.numbers(other) == [2]
    assert api.consume(other, after_message_id=id_of_one).status_code == 400


def test_since_time_is_exclusive(emulator, api):
    topic = emulator.create_topic(retention=YEARS)
    times = [f"2023-04-14T15:07:14.{ms}Z" for ms in ("436", "437", "438")]
    emulator.load(topic, numbered(3), times=times)
    assert api.numbers(topic, since_time="2023-04-14T15:07:14.437Z") == [2]
    assert api.numbers(topic, since_time="2023-04-14T17:07:14.4365+02:00") == [1, 2]
    assert api.numbers(topic, since_time="2023-04-14T15:07:14.438+00:00") == []
    assert api.page(topic)[1]["time"] == "2023-04-14T15:07:14.437+00:00"


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
def test_bad_parameters_are_rejected(api, topic, body):
    response = api.consume(topic, **body)
    assert response.status_code == 400
    assert response.json()["code"] == 400
    assert response.json()["message"]


def test_an_expired_cursor_does_not_exist(emulator, api, topic):
    ids = emulator.load(topic, numbered(4))
    emulator.expire(topic, ids[1])
    assert api.numbers(topic) == [2, 3]
    assert api.numbers(topic, after_message_id=ids[2]) == [3]
    assert api.consume(topic, after_message_id=ids[1]).status_code == 400
    emulator.configure(expired_status=410)
    emulator.purge(topic)
    assert api.page(topic) == []
    response = api.consume(topic, after_message_id=ids[2])
    assert (response.status_code, response.json()["code"]) == (410, 410)


def test_messages_expire_as_the_clock_advances(emulator, api):
    topic = emulator.create_topic(retention=3600)
    [old] = emulator.load(topic, numbered(1))
    emulator.configure(clock_offset_secs=3000)
    [new] = emulator.load(topic, [{"n": 1}])
    assert api.numbers(topic) == [0, 1]
    emulator.configure(clock_offset_secs=4000)
    assert api.numbers(topic) == [1]
    assert [message.message_id for message in emulator.messages(topic)] == [new]
    assert api.consume(topic, after_message_id=old).status_code == 400


def test_ids_do_not_sort(emulator, topic):
    ids = emulator.load(topic, numbered(5000))
    assert len(set(ids)) == 5000
    assert len({len(each) for each in ids}) > 1
    pairs = list(itertools.pairwise(ids))
    assert 1000 < sum(one < two for one, two in pairs) < 4000
    assert any(len(one) > len(two) for one, two in pairs)
    assert all(each.startswith("A") and each.isalnum() for each in ids)


def test_a_long_poll_ends_when_its_client_disconnects(emulator, api, topic):
    with pytest.raises(requests.ReadTimeout):
        api.post(f"/api/v1/topics/{topic}/consume", '{"timeout_secs": 60}', timeout=0.2)
    eventually(lambda: [r for r in emulator.requests() if r.finished_at], "the end of the poll")
    [request] = emulator.requests()
    assert request.status is None
