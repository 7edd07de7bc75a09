"""What the producer and the senders ask the guarantee of a run.

`AtLeastOnce` and `ExactlyOnce` implement it; which one a run has is a setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..message_key import RowVersion

# Runs a function in another thread and returns its result.
Run: TypeAlias = "Callable[[Callable[[], Any]], Any]"


class Versioned(Protocol):
    """A record that is to be published."""

    @property
    def version(self) -> RowVersion:
        """The version of its row."""

    @property
    def sequence(self) -> int:
        """Its position in the input; higher for later records."""


R = TypeVar("R", bound=Versioned)


class Position(msgspec.Struct, frozen=True):
    """The last message of a topic that was read or acknowledged."""

    message_id: str | None  # None if the topic was empty
    message_time: str | None = None  # by the service's clock; None if unknown


class PublishResult(NamedTuple):
    """The result of a publish request."""

    failed: Mapping[int, str]  # reasons of rejected messages, by index
    unknown: Sequence[int] = ()  # indices of messages without a result; they may have arrived
    last_message_id: str | None = None  # of the acknowledged messages; None if it is unknown
    time: str | None = None  # the time of the response by the service's clock

    def accepted(self, records: Sequence[R]) -> Sequence[R]:
        """Return the records of the request that the service acknowledged."""
        if not self.failed and not self.unknown:
            return records
        others = {*self.failed, *self.unknown}
        return [record for index, record in enumerate(records) if index not in others]


class TopicGuarantee(Protocol[R]):
    """What one worker asks about the requests of its topic."""

    @property
    def position(self) -> Position | None:
        """The last message that was acknowledged or read; None if nothing depends on it."""

    def start_batch(self) -> None:
        """Forget the records of the previous batch, which all have an outcome."""

    def missing(self, records: Sequence[R]) -> Sequence[R]:
        """Return the records of a request that have to be sent, in order.

        Raises `EventStreamsError` if that cannot be determined.
        """

    def on_lost(self, records: Sequence[R], *, is_throttled: bool) -> int:
        """Handle records without a result, which may have arrived; unlikely if it is throttled.

        Return how many of them may be duplicated from now on.
        """

    def on_response(self, records: Sequence[R], result: PublishResult) -> bool:
        """Handle a response; return whether it says enough, or else the request has failed."""


class Guarantee(Protocol[R]):
    """Decides which records are published and which states are emitted, in the main thread."""

    @property
    def unsettled(self) -> int:
        """The number of wanted records that have no outcome yet."""

    @property
    def cut(self) -> int:
        """The sequence number that no batch may span; 0 if there is none."""

    def exclusive_row(self, record: R) -> str | None:
        """Return the row of which a batch may contain no other version, if there is one."""

    def open_topic(self, topic_id: int, label: str, run: Run) -> None:
        """Prepare a topic for its first record; the label names it in errors and log lines."""

    def wants(self, topic_id: int, record: R) -> bool:
        """Decide whether a record has to be published; its outcome is then passed to `settle`."""

    def settle(self, topic_id: int, records: Sequence[R], position: Position | None) -> None:
        """Handle that records of one batch were acknowledged, or written to the dead letters."""

    def add_state(self, state: bytes) -> None:
        """Add the value of a STATE message, which covers all records before it."""

    def pop_state(self) -> bytes | None:
        """Return the newest state that may be emitted and has not been returned yet."""

    def finish(self, *, is_complete: bool) -> Sequence[tuple[int, R]]:
        """Handle the end of the input; return records that have to be published after all.

        The input is complete if it ends with a STATE. The records come with their topic ids.
        """

    def topic(self, topic_id: int) -> TopicGuarantee[R]:
        """Return the guarantee of a topic that has been opened, for a new worker."""

    def requests(self, topic_id: int) -> int:
        """Return the number of requests for reading a topic; in any thread."""

    def report_progress(self) -> None:
        """Log what takes long; called several times a minute."""
