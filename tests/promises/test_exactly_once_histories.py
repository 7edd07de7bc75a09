"""The rule of `exactly_once`, point by point, including the histories that broke a simpler rule."""

from __future__ import annotations

from typing import Any

import pytest
from target_workato_streams.publishing.producer import Producer

from tests.random.exactly_once.scripted import PartlyLost, Pipeline, keyless, row, state_line
from tests.support.messages_api import rejection
from tests.support.running import eventually
from tests.support.target_in_process import EventStreamsError

POSITIONS = "target-workato-streams"


def positions(state: dict[str, dict[str, dict[str, dict[str, str]]]]) -> dict[str, str]:
    """Return the message id of each topic's position."""
    return {t: p["message_id"] for t, p in state["bookmarks"][POSITIONS].items()}


@pytest.mark.parametrize("step", ["lost", "not applied"])
def test_after_a_lost_response_only_what_is_missing_is_sent(step):
    """The target looks the topic up before it resends a batch, whether it was applied or not."""
    pipe = Pipeline()
    pipe.run(row("1", "a"), row("2", "a"), pipe.bookmark(2), script=[step])
    assert pipe.topic() == ["1a", "2a"]
    assert len(pipe.service.batches) == (1 if step == "lost" else 2)
    assert pipe.state["bookmarks"]["a"] == {"at": 2}


def test_a_partly_applied_batch_is_completed_in_order():
    """One entry fails and is retried, and the response to the retry is lost."""
    pipe = Pipeline()
    sent = [row(name, "a") for name in "123"]
    pipe.run(*sent, pipe.bookmark(3), script=[{1}, "lost"])
    assert pipe.topic() == ["1a", "3a", "2a"]


def test_equal_records_without_a_key_are_matched_by_count_after_a_lost_response():
    """Two of three equal entries fail, and the response to their retry is lost."""
    pipe = Pipeline()
    sent = [keyless("x")] * 3
    pipe.run(*sent, pipe.bookmark(3), script=[{0, 2}, "lost"], keys=())
    assert pipe.topic() == ["x", "x", "x"]


def test_a_lost_response_to_a_partly_applied_batch_of_equal_records():
    """Each message that a look-up finds counts once, so the others are sent."""
    pipe = Pipeline()
    sent = [keyless("x")] * 3
    script = [PartlyLost({0, 2}), PartlyLost({0, 1}), PartlyLost({0})]
    pipe.run(*sent, pipe.bookmark(3), script=script, keys=())
    assert [len(batch) for batch in pipe.service.batches] == [3, 2, 2, 1]
    assert pipe.topic() == ["x", "x", "x"]


def test_a_lost_response_costs_one_look_up():
    """Later batches do not cost more."""
    requests = []
    for count in (3, 9):
        pipe = Pipeline()
        sent = [row(str(number), "a") for number in range(count)]
        pipe.run(*sent, pipe.bookmark(count), script=["lost"])
        requests.append(pipe.service.requests)
    assert requests[0] == requests[1]


def test_a_lost_response_to_a_partly_applied_batch():
    """The messages that the topic lacks are sent in order, and no others."""
    pipe = Pipeline()
    sent = [row(name, "a") for name in "123"]
    pipe.run(*sent, pipe.bookmark(3), script=[PartlyLost({0, 2}), PartlyLost({0})])
    assert pipe.service.batches == [["1", "2", "3"], ["1", "3"], ["1"]]
    assert pipe.topic() == ["2a", "3a", "1a"]


def test_an_entry_that_fails_after_a_lost_response_is_retried():
    """Its index in the second request differs from its index in the batch."""
    pipe = Pipeline()
    sent = [row(name, "a") for name in "123"]
    pipe.run(*sent, pipe.bookmark(3), script=[PartlyLost({1, 2}), {1}])
    assert pipe.service.batches == [["1", "2", "3"], ["2", "3"], ["3"]]
    assert pipe.topic() == ["1a", "2a", "3a"]


def test_equal_records_of_a_keyless_stream_after_a_partial_failure_and_a_kill():
    """The next run counts the equal messages in the topic, and publishes the others."""
    pipe = Pipeline()
    sent = [keyless("x")] * 3
    pipe.run(*sent, pipe.bookmark(3), script=[{0, 2}, "kill"], keys=())
    assert pipe.topic() == ["x"]
    pipe.run(*sent, pipe.bookmark(3), keys=())
    assert pipe.topic() == ["x", "x", "x"]


def test_two_versions_of_a_row_whose_first_entry_fails_once():
    """The versions [r=b, r=a] are not in one batch, so the topic does not end with b."""
    pipe = Pipeline()
    pipe.run(row("r", "b"), row("r", "a"), pipe.bookmark(2), script=[{0}])
    assert pipe.topic() == ["rb", "ra"]
    assert pipe.service.batches == [["r"], ["r"], ["r"]]


def test_a_kill_after_a_partial_failure_of_a_row_with_two_versions():
    """A failed entry is retried before the next batch, so the topic contains b before a."""
    pipe = Pipeline()
    sent = [row("r", "b"), row("r", "a"), pipe.bookmark(2)]
    pipe.run(*sent, script=[{0}, "kill"])
    pipe.run(*sent)
    assert pipe.topic() == ["rb", "ra"]


def test_a_batch_is_cut_at_a_state_that_it_would_span():
    """Otherwise, the topic would contain a message of a later record when the state is emitted."""
    pipe = Pipeline()
    sent = [row("1", "a"), pipe.bookmark(1), row("2", "a"), row("3", "a"), pipe.bookmark(3)]
    pipe.run(*sent)
    assert pipe.service.batches == [["1"], ["2", "3"]]
    assert pipe.topic() == ["1a", "2a", "3a"]


def test_a_batch_that_spans_a_state_with_a_failing_entry():
    """If the run is killed before the entry is retried, the next run publishes it."""
    pipe = Pipeline()
    sent = [row("1", "a"), pipe.bookmark(1), row("2", "a"), row("3", "a"), pipe.bookmark(3)]
    pipe.run(*sent, script=[{0}, "kill"])
    pipe.run(*sent)
    assert pipe.topic() == ["1a", "2a", "3a"]


def test_a_reverted_row_whose_run_is_killed_before_the_end_of_the_input():
    """The topic contains a and b, and the source is back at a: a is published once more."""
    pipe = Pipeline()
    pipe.run(row("r", "a"), row("r", "b"), script=["ok", "killed"])
    assert pipe.topic() == ["ra", "rb"]
    before = pipe.run(
        row("r", "a"), row("2", "z"), pipe.bookmark(2), row("3", "z"), script=["kill"]
    )
    assert all("a" not in state["bookmarks"] for state in before)
    assert pipe.topic() == ["ra", "rb"]
    pipe.run(row("r", "a"), row("2", "z"), pipe.bookmark(2))
    assert pipe.topic() == ["ra", "rb", "2z", "ra"]
    pipe.run()
    assert len(pipe.topic()) == 4


def test_a_reverted_row_that_is_updated_ends_with_the_update():
    """The older version is not published after it, although the update is in the last batch."""
    pipe = Pipeline()
    pipe.run(row("r", "a"), row("r", "b"), script=["ok", "killed"])
    pipe.run(row("r", "a"), row("r", "c"), pipe.bookmark(2))
    assert pipe.topic() == ["ra", "rb", "rc"]


def test_the_last_state_does_not_cover_a_reverted_row_before_it_is_published():
    """If the run is killed in between, the next run publishes the row."""
    pipe = Pipeline()
    pipe.run(row("r", "a"), row("r", "b"), script=["ok", "killed"])
    pipe.run(row("r", "a"), pipe.bookmark(1), script=["kill"])
    assert "a" not in pipe.state["bookmarks"]
    pipe.run(row("r", "a"), pipe.bookmark(1))
    assert pipe.topic() == ["ra", "rb", "ra"]


def test_a_tap_that_dies_does_not_resolve_a_reverted_row():
    """An input whose last line is not a STATE may be incomplete, so kept records stay kept."""
    pipe = Pipeline()
    pipe.run(row("r", "a"), row("r", "b"), script=["ok", "killed"])
    pipe.run(row("r", "a"))
    pipe.run(row("r", "a"), row("r", "b"), pipe.bookmark(2))
    assert pipe.topic() == ["ra", "rb"]


def test_a_replay_in_which_one_topic_has_nothing_in_any_list():
    """New records of one topic are published while the records of another topic are skipped."""
    pipe = Pipeline(2, a=0, b=1)
    first = [row("1", "a"), row("2", "a")]
    pipe.run(*first, row("1", "a", "b"), script=["killed"])
    assert [len(pipe.topic(0)), len(pipe.topic(1))] in ([2, 0], [0, 1])
    pipe.run(*first, row("1", "a", "b"), pipe.bookmark(3))
    assert (pipe.topic(0), pipe.topic(1)) == (["1a", "2a"], ["1a"])
    assert pipe.state["bookmarks"]["a"] == {"at": 3}


def test_after_a_rejected_record_the_next_version_of_its_row_is_published_again():
    """This is a documented limit: the rule does not wait for the outcome of the first record."""
    pipe = Pipeline()
    pipe.run(row("r", "a"), script=["killed"])
    pipe.run(row("r", "!"), row("r", "a"), pipe.bookmark(2), script=["rejected"])
    assert pipe.topic() == ["ra", "ra"]
    assert pipe.state["bookmarks"]["a"] == {"at": 2}


def test_what_was_published_before_a_kill_is_skipped_by_the_next_run():
    """This holds for several streams and topics, and if a stream is no longer published."""
    pipe = Pipeline(2, a=0, b=0, c=1)
    sent = [(stream, str(number)) for stream in "abc" for number in range(4)]

    def from_the_bookmark() -> list[bytes]:
        done = pipe.state.get("bookmarks", {}).get("a", {}).get("at", 0)
        found = []
        for at, (stream, name) in enumerate(sent[done:], done + 1):
            found.append(row(name, "x", stream))
            if at % 5 == 0 or at == len(sent):
                found.append(pipe.bookmark(at))
        return found

    for killed_after in range(6):
        pipe.run(*from_the_bookmark(), script=["ok"] * (killed_after % 3) + ["killed"])
    pipe.run(*from_the_bookmark())
    assert sorted(pipe.topic(0)) == sorted([f"{n}x" for n in range(4)] * 2)
    assert pipe.topic(1) == [f"{n}x" for n in range(4)]
    assert set(positions(pipe.state)) == {"0", "1"}
    del pipe.routes["c"]
    pipe.run(row("9", "x"), pipe.bookmark(13))
    assert set(positions(pipe.state)) == {"0", "1"}


def test_first_contact_emits_the_last_state_again_with_the_position():
    """The state comes before the first publish; the position in an empty topic has no message."""
    pipe = Pipeline()
    pipe.states.append({"bookmarks": {"a": {"at": 1}}})
    first, again = pipe.run(row("1", "a"), script=["kill"])
    assert first == {"bookmarks": {"a": {"at": 1}}}
    assert again["bookmarks"]["a"] == {"at": 1}
    assert again["bookmarks"][POSITIONS] == {"0": {"message_id": None, "message_time": None}}


def test_first_contact_before_any_state_emits_nothing():
    """A state with positions only would replace the stored bookmarks."""
    pipe = Pipeline()
    assert pipe.run(row("1", "a"), first_state=False) == []
    [state] = pipe.run(row("2", "a"), pipe.bookmark(2), first_state=False)
    assert pipe.topic() == ["1a", "2a"]
    assert positions(state) == {"0": pipe.service.topics[0][-1].message_id}


def test_messages_before_the_first_contact_do_not_count():
    """The first position is the last message of the topic, whoever published it."""
    pipe = Pipeline()
    topic = pipe.service.topics[0]
    for _ in range(200):
        pipe.service.store(0, b'{"message_key":"theirs"}')
    pipe.run(row("1", "a"), pipe.bookmark(1))
    assert len(topic) == 201
    assert positions(pipe.states[1]) == {"0": topic[199].message_id}


def test_a_state_waits_until_the_messages_after_the_position_are_covered():
    """A position never passes a message whose record the state does not cover."""
    pipe = Pipeline()
    sent = [row("1", "a"), pipe.bookmark(1), row("2", "a"), pipe.bookmark(2)]
    pipe.run(*sent[:3], script=["ok", "killed"])
    pipe.states[-1:] = [{"bookmarks": {POSITIONS: {"0": {"message_id": None}}}}]
    _, *emitted = pipe.run(*sent)
    assert [state["bookmarks"]["a"]["at"] for state in emitted] == [2]
    assert pipe.topic() == ["1a", "2a"]


def test_a_state_has_the_positions_of_its_own_records(monkeypatch):
    """If the main thread is slow, it handles a later outcome before it emits the state."""
    pipe = Pipeline()
    finish = Producer.finish

    def finish_late(producer: Producer, *, is_complete: bool = False) -> None:
        producer.submit_all()
        eventually(lambda: producer.idle, "both responses")
        finish(producer, is_complete=is_complete)

    monkeypatch.setattr(Producer, "poll", lambda _producer: None)
    monkeypatch.setattr(Producer, "finish", finish_late)
    pipe.run(row("1", "x"), pipe.bookmark(1), row("1", "y"))
    assert pipe.service.batches == [["1"], ["1"]]
    assert pipe.state["bookmarks"]["a"] == {"at": 1}
    assert positions(pipe.state) == {"0": pipe.service.topics[0][0].message_id}


def test_a_state_is_emitted_although_a_topic_contains_a_later_message():
    """Its positions are those of its own records, so it need not cover exactly what there is."""
    pipe = Pipeline(2, a=0, b=1)
    sent = [row("1", "x"), row("2", "x", "b"), pipe.bookmark(2), row("3", "x")]
    pipe.run(*sent, batch_size_rows=1)
    assert pipe.topic(0) == ["1x", "3x"]
    assert pipe.state["bookmarks"]["a"] == {"at": 2}
    found = {str(n): topic[0].message_id for n, topic in enumerate(pipe.service.topics)}
    assert positions(pipe.state) == found
    pipe.run(row("3", "x"), pipe.bookmark(3))
    assert (pipe.topic(0), pipe.topic(1)) == (["1x", "3x"], ["2x"])


def test_a_row_that_the_source_has_deleted_holds_back_states_until_the_input_ends():
    """Its record could still come; at the end of the input, the last state covers everything."""
    pipe = Pipeline()
    pipe.run(row("1", "a"), row("2", "a"), script=["killed"])
    sent = [row("2", "a"), pipe.bookmark(1), row("3", "a"), pipe.bookmark(2)]
    _, *emitted = pipe.run(*sent)
    assert [state["bookmarks"]["a"]["at"] for state in emitted] == [2]
    pipe.run(row("1", "a"), pipe.bookmark(3))
    assert pipe.topic() == ["1a", "2a", "3a", "1a"]


def test_an_expired_position_means_reading_from_the_earliest_message():
    """The messages that have not expired are found, and their records are skipped."""
    pipe = Pipeline()
    pipe.run(row("1", "a"), pipe.bookmark(1))
    sent = [row("2", "a"), row("3", "a"), pipe.bookmark(3)]
    pipe.run(*sent, script=["killed"])
    del pipe.service.topics[0][0]
    pipe.run(*sent)
    assert pipe.topic() == ["2a", "3a"]


def test_a_batch_that_is_rejected_after_a_lost_response_is_not_published_twice():
    """The halves of the batch do not contain messages that the look-up has found."""
    pipe = Pipeline()
    sent = [row("1", "a"), row("2", "a"), row("3", "!")]
    pipe.run(*sent, pipe.bookmark(3), script=[{1, 2}, "rejected", "lost", "rejected"])
    assert pipe.topic() == ["1a", "2a"]


def test_a_record_that_is_rejected_without_being_sent_is_no_outcome_of_another():
    """The state that covers both is not emitted before the other one is published."""
    pipe = Pipeline()
    sent = [row("1", "a"), row("2", "x" * 1000), pipe.bookmark(2)]
    pipe.run(*sent, script=["kill"], max_batch_bytes=1000)
    assert "a" not in pipe.state["bookmarks"]
    pipe.run(*sent, max_batch_bytes=1000)
    assert pipe.topic() == ["1a"]
    assert pipe.state["bookmarks"]["a"] == {"at": 2}


def test_a_deletion_is_another_version():
    """The record of a deletion is published once, and skipped in a replay."""
    pipe = Pipeline()
    gone = row("1", "a").replace(b'"v"', b'"_sdc_deleted_at": "2026-11-24", "v"')
    pipe.run(row("1", "a"), gone, script=["ok", "killed"])
    assert pipe.topic() == ["1a", "1a"]
    pipe.run(row("1", "a"), gone, pipe.bookmark(2))
    assert pipe.topic() == ["1a", "1a"]


def test_a_record_that_stream_maps_copy_to_one_topic_is_no_second_version_of_its_row():
    """If the first entry is retried, its copy is not published again after it."""
    pipe = Pipeline()
    maps = {"a": {}, "b": {"__source__": "a"}}
    sent = [row("1", "x"), row("2", "x"), pipe.bookmark(2)]
    pipe.run(*sent, script=[{0}], stream_maps=maps, topics={"*": 0})
    assert sorted(pipe.topic()) == ["1x", "1x", "2x", "2x"]
    assert len({message.payload for message in pipe.service.topics[0]}) == 4


def test_rows_that_lose_their_key_to_a_stream_map_are_not_published_again():
    """Records without a key are not versions of one row."""
    pipe = Pipeline()
    sent = [row("1", "x"), row("1", "y"), pipe.bookmark(2)]
    pipe.run(*sent, script=[{0}], stream_maps={"a": {"__key_properties__": []}})
    assert pipe.topic() == ["1y", "1x"]


def test_a_look_up_that_is_rejected_does_not_reject_the_messages(monkeypatch, tmp_path):
    """The topic may contain them, so the run fails, and no state covers them."""
    pipe = Pipeline()
    pipe.run(row("1", "x"), pipe.bookmark(1))
    consume = pipe.service.consume

    def rejected_after_the_publish(topic_id: int, request: dict[str, Any]) -> bytes:
        if len(pipe.service.batches) > 1:
            return rejection("400 Bad Request")
        return consume(topic_id, request)

    monkeypatch.setattr(pipe.service, "consume", rejected_after_the_publish)
    file = tmp_path / "dead.jsonl"
    sent = [row("2", "x"), row("3", "x"), pipe.bookmark(3)]
    with pytest.raises(EventStreamsError, match="look-up after a lost response"):
        pipe.run(*sent, script=["lost"], dead_letter_path=str(file))
    assert pipe.topic() == ["1x", "2x", "3x"]
    assert not file.exists()
    assert pipe.state["bookmarks"]["a"] == {"at": 1}


def test_positions_after_an_empty_first_state_are_used():
    """Some taps emit an empty state before the one that they were given."""
    pipe = Pipeline()
    pipe.run(row("1", "x"), pipe.bookmark(1))
    stored = pipe.state
    pipe.run(row("2", "x"), script=["killed"])
    pipe.run(state_line({}), state_line(stored), row("2", "x"), pipe.bookmark(2), first_state=False)
    assert pipe.topic() == ["1x", "2x"]
