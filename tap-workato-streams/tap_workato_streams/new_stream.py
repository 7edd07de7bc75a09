"""Creates the stream of a topic, depending on the record format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .nested_stream import NestedStream
from .records.layout import Layout

if TYPE_CHECKING:
    from singer_sdk.tap_base import Tap

    from .reading.consumer import TopicConsumer
    from .streams import TopicStream


def new_stream(tap: Tap, consumer: TopicConsumer) -> TopicStream:
    """Create the stream of a topic."""
    if layout := Layout.from_config(tap.config):
        # Runs with nested records start faster without this import.
        from .table_stream import TableStream  # noqa: PLC0415

        return TableStream(tap, consumer, layout)
    return NestedStream(tap, consumer)
