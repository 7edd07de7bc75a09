"""A topic whose records contain the unchanged payload."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .discovery.schemas import OPEN_PAYLOAD
from .event_streams.errors import EventStreamsError
from .output.writer import payload_lines
from .records.layout import PAYLOAD, RESCUED, message_schema
from .streams import TopicStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.tap_base import Tap

    from .event_streams.consume import Message
    from .reading.consumer import TopicConsumer


class NestedStream(TopicStream):
    """A topic in the nested record format, without flattening."""

    def __init__(self, tap: Tap, consumer: TopicConsumer) -> None:
        payload = consumer.topic.payload_schema or OPEN_PAYLOAD
        super().__init__(tap, consumer, message_schema({PAYLOAD: payload}))

    @property
    @override
    def effective_schema(self) -> dict[str, Any]:
        """The schema of the catalog, with all properties of the records and no others.

        Loaders silently drop fields without a property, and the catalog may have been edited or
        made for another record format.
        """
        schema, own = super().effective_schema, self.schema
        known = schema.get("properties", {})
        properties = {name: known.get(name, own["properties"][name]) for name in own["properties"]}
        return {**own, **schema, "properties": properties}

    @override
    def write_schema(self) -> None:
        known = {*self.schema["properties"], RESCUED}
        for crumb, is_selected in self.mask.items():
            if crumb and not is_selected and crumb[1] not in known:
                # It would be emitted inside of the payload.
                raise EventStreamsError(
                    f"{self.topic}: the catalog deselects {crumb[1]}, which is not a "
                    "property of nested records; run discovery again (Meltano: --refresh-catalog)"
                )
        for stream_map in self.stream_maps:
            names = stream_map.transformed_schema.get("properties", {})
            for key in stream_map.transformed_key_properties or ():
                if key not in names:
                    raise EventStreamsError(
                        f"{self.topic}: the records have no {key}, which is a key property; "
                        "set record_format to unpacked, or add it in stream_maps"
                    )
        super().write_schema()

    @cached_property
    @override
    def splices(self) -> bool:
        return self.maps.keep_records and all(self.mask.values())

    @override
    def members(self, messages: Sequence[Message]) -> tuple[Sequence[bytes], None]:
        return [b'"payload":' + payload for payload in payload_lines(messages)], None
