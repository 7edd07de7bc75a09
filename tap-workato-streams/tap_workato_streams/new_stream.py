"""Choosing the kind of stream by the format of its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nested_stream import NestedStream
from .records.settings import RecordSettings

if TYPE_CHECKING:
    from singer_sdk.tap_base import Tap

    from .reading.consumer import TopicConsumer
    from .streams import TopicStream


def new_stream(tap: Tap, consumer: TopicConsumer) -> TopicStream:
    """Make a stream of a topic."""
    settings = RecordSettings.from_config(tap.config)
    if settings.layout:
        # Runs that emit nested records start sooner without what takes them apart.
        from .table_stream import TableStream  # noqa: PLC0415

        return TableStream(tap, consumer, settings, settings.layout)
    return NestedStream(tap, consumer)
