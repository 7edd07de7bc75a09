"""One run of the target: the real rule and reader, and a producer without threads."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from target_workato_streams.delivery.exactly_once.deduplicator import (
    Deduplicator,
    PositionedState,
)
from target_workato_streams.delivery.exactly_once.topic_reader import LookUp, TopicReader
from target_workato_streams.delivery.positions import (
    read_state,
    resume_point,
    with_positions,
)
from target_workato_streams.delivery.records import Position
from target_workato_streams.message_key import RowVersion

from tests.search.exactly_once.simulation.world import (
    KEY_FIELD,
    REJECTED,
    Lost,
    Record,
    TopicClient,
    World,
)

Emit = Callable[[bytes, bytes], None]

MAX_BATCH = 3


class Message(NamedTuple):
    """A record of the input."""

    record: Record
    sequence: int
    version: RowVersion

    def __str__(self) -> str:
        """Return a short form for the trace."""
        return str(self.record)


class Run:
    """One run, which ends at the end of the input, or earlier with an exception.

    `emit` receives a state of the tap, and the text that is emitted.
    """

    def __init__(self, world: World, routes: Mapping[str, int], emit: Emit) -> None:
        self._world, self._rng, self._routes = world, world.rng, routes
        self._emit = emit
        self._rule: Deduplicator[Message] = Deduplicator(
            lambda: world.seconds, world.options.hold_secs
        )
        self._has_positions = False
        self.found = 0  # messages of ours, in look-ups before the first record of a topic
        self._open: dict[int, list[Message]] = {topic: [] for topic in routes.values()}
        self._readers: dict[int, TopicReader] = {}
        self._last: dict[int, Position] = {}
        self._read = 0

    def play(self, lines: Iterable[Record | bytes]) -> None:
        """Publish records and emit states."""
        ends_with_state = False
        for line in lines:
            self._world.may_kill("between lines")
            self._world.note("  {}", line)
            if ends_with_state := isinstance(line, bytes):
                self._add_state(line)
            else:
                self._take(line)
        self._submit_all()
        for topic_id, message in self._rule.finish(is_complete=ends_with_state):
            self._world.note("    {} was kept", message)
            self._open[topic_id].append(message)
        self._submit_all()
        self._emit_states()

    def _add_state(self, state: bytes) -> None:
        if not self._has_positions:
            returned = read_state(state)
            self._rule.restore(returned.positions, returned.uncovered)
            self._has_positions = bool(returned.positions)
        self._rule.add_state(state, resume_point(state))
        self._emit_states()

    def _take(self, record: Record) -> None:
        self._read += 1
        topic_id = self._routes[record.stream]
        message = Message(record, self._read, record.version)
        if topic_id not in self._readers:
            self._look_up(topic_id)
        if self._rule.add_record(topic_id, message):
            self._open[topic_id].append(message)
            if len(self._open[topic_id]) >= MAX_BATCH or self._rng.random() < 0.15:
                self._submit(topic_id)
        else:
            self._world.note("    skipped")
            self._emit_states()
        if self._rng.random() < 0.1:
            self._submit_all()

    def _look_up(self, topic_id: int) -> None:
        client = TopicClient(self._world, topic_id)
        reader = TopicReader(client, f"T{topic_id}", KEY_FIELD)
        position = self._rule.positions.get(topic_id)
        found = LookUp(reader.find_end()) if position is None else reader.look_up(position)
        self._rule.add_found(topic_id, found.end, found.versions)
        self.found += len(found.versions)
        self._world.note("    T{}: {} found up to {}", topic_id, len(found.versions), found.end)
        self._readers[topic_id], self._last[topic_id] = reader, found.end
        self._emit_states()

    def _submit_all(self) -> None:
        for topic_id in self._open:
            self._submit(topic_id)

    def _submit(self, topic_id: int) -> None:
        waiting = self._open[topic_id]
        while waiting:
            batch: list[Message] = []
            for message in waiting[:MAX_BATCH]:
                spans_cut = batch and batch[0].sequence <= self._rule.cut < message.sequence
                is_row_in_batch = message.record.is_keyed and message.version.row in {
                    each.version.row for each in batch
                }
                if spans_cut or is_row_in_batch:
                    break
                batch.append(message)
            del waiting[: len(batch)]
            self._send(topic_id, batch)

    def _send(self, topic_id: int, messages: list[Message]) -> None:
        while messages:
            try:
                ids, date = self._world.publish(topic_id, [each.record for each in messages])
            except Lost:
                last, accepted = self._readers[topic_id].find(messages, self._last[topic_id])
                self._last[topic_id] = last
                self._world.note("    {} in the topic, which ends at {}", len(accepted), last)
                rejected = []
            else:
                accepted = [each for each, id_ in zip(messages, ids, strict=True) if id_]
                if known := [id_ for id_ in ids if id_]:
                    self._last[topic_id] = Position(known[-1], date.isoformat())
                rejected = [each for each in messages if each.record.content == REJECTED]
            if accepted:
                self._rule.settle(topic_id, accepted, self._last[topic_id])
            if rejected:
                self._rule.settle(topic_id, rejected, None)
            done = {each.sequence for each in (*accepted, *rejected)}
            messages = [each for each in messages if each.sequence not in done]
            self._emit_states()

    def _emit_states(self) -> None:
        while state := self._rule.pop_state():
            self._emit_state(state)
            self._world.may_kill("after a state")

    def _emit_state(self, state: PositionedState) -> None:
        self._emit(state.state, with_positions(state.state, state.positions, state.uncovered))
