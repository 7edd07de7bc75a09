"""What a delivery knows of records, requests and threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from ..message_key import RowVersion

# Runs a function in another thread and returns its result.
Run: TypeAlias = Callable[[Callable[[], Any]], Any]


class Versioned(Protocol):
    """A record that is to be published."""

    @property
    def version(self) -> RowVersion:
        """The version of its row."""

    @property
    def sequence(self) -> int:
        """Its position in the input; higher for later records."""

    @property
    def stream_name(self) -> str:
        """The name of its stream, for log lines."""


R = TypeVar("R", bound=Versioned)


class PublishResult(NamedTuple):
    """The result of a publish request."""

    failed: Mapping[int, str]  # reasons of rejected messages, by index
    unknown: Sequence[int] = ()  # indices of messages without a result; they may have arrived
    last_message_id: str | None = None  # of the acknowledged messages; None if it is unknown
    time: str | None = None  # the time of the response by the service's clock
