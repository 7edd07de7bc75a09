"""The target: what it does with each message of the input."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Target
from singer_sdk.exceptions import InvalidJSONSchema
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from typing_extensions import override

from .assembly import build
from .input.batch_files import records
from .input.singer_lines import InputError, RecordBeforeSchemaError
from .input.stdin_reader import StdinReader
from .plugin.command import ConnectorCommand
from .plugin.config_check import CheckedPlugin
from .publishing.messages import Origin, Stream
from .settings import SETTINGS, decodes, target_problems
from .sinks import MessageSink, decode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    import click

    from .input.singer_lines import Line

# How many records of batch files are taken in between two looks at the clock.
RECORDS_BETWEEN_LOOKS = 500
# What a shell adds to the number of the signal that ended a process.
SIGNALLED = 128


class TargetWorkatoStreams(CheckedPlugin, Target):
    """Singer target for Workato Event Streams."""

    name = "target-workato-streams"
    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS.to_dict()
    capabilities = [  # noqa: RUF012
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.BATCH,
        PluginCapabilities.STRUCTURED_LOGGING,
        TargetCapabilities.VALIDATE_RECORDS,
    ]
    default_sink_class = MessageSink
    message_reader_class = StdinReader
    message_reader: StdinReader

    # A signal may come before there is anything to finish.
    _ready = False

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self._decodes = decodes(self.config)
        self._streams: dict[str, Stream] = {}
        self._origin: Origin
        self._router, self._producer = build(self.config, self.logger)
        self.message_reader.poller = self._producer
        self._ready = True

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's settings, but for one: a topic can only be added to."""
        super().append_builtin_config(config_jsonschema)
        config_jsonschema["properties"].pop("load_method", None)

    @classmethod
    @override
    def own_problems(cls, config: Mapping[str, Any]) -> list[str]:
        """Find what is wrong with the settings of the target alone."""
        return target_problems(config)

    @override
    def _process_schema_message(self, line: Line) -> None:  # type: ignore[override]
        line.need("stream", "schema")
        stream = Stream(line.stream, tuple(line.key_properties or ()), bytes(line.schema))
        known = self._streams.get(line.stream)
        if known is not None and known.describes(stream):
            return
        try:
            schema = json.loads(stream.schema)
        except (ValueError, RecursionError):
            raise InputError("the schema cannot be decoded") from None
        if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
            raise InputError("the schema has no properties")
        if self._decodes:
            message = {"type": line.type, "stream": line.stream, "schema": schema}
            try:
                super()._process_schema_message({**message, "key_properties": line.key_properties})
            except InvalidJSONSchema:
                raise InputError("the schema is not a JSON Schema") from None
            # Replaced sinks hold nothing; the SDK would keep them to the end.
            self.drain_all()
        else:
            self._router.route(line.stream, schema)
        self._streams[line.stream] = stream

    @override
    def _process_record_message(self, line: Line) -> None:  # type: ignore[override]
        self._take(line, bytes(line.record), self.message_reader.position)

    @override
    def _process_batch_message(self, line: Line) -> None:  # type: ignore[override]
        line.need("stream", "encoding", "manifest")
        files = records(line, self.config.get("batch_config"))
        for count, (place, record) in enumerate(files):
            if count % RECORDS_BETWEEN_LOOKS == 0:
                self._producer.poll()
            if self._producer.stopping:
                return
            self._take(line, record, f"{self.message_reader.position} ({place})")

    @override
    def _process_state_message(self, line: Line) -> None:  # type: ignore[override]
        line.need("value")
        state = bytes(line.value)
        # Some taps write null before they have a state.
        if state != b"null":
            if state[:1] != b"{":
                raise InputError("the value of the state is not an object")
            self._producer.close_checkpoint(state)

    @override
    def _process_activate_version_message(self, line: Line) -> None:  # type: ignore[override]
        self.logger.debug("ACTIVATE_VERSION of %s means nothing to a topic", line.stream)

    def _take(self, line: Line, record: bytes, position: int | str) -> None:
        stream = self._streams.get(line.stream)
        if stream is None:
            line.need("stream")
            raise RecordBeforeSchemaError(f"a record of {line.stream} comes before its schema")
        if not record.startswith(b"{"):
            line.need("record")
            raise InputError("the record is not an object")
        version, time_extracted = bytes(line.version), bytes(line.time_extracted)
        origin = Origin(stream, record, position, version, time_extracted)
        if self._decodes:
            self._map(origin)
        else:
            self._producer.add(stream, record, origin)

    def _map(self, origin: Origin) -> None:
        """Let the SDK map, flatten, validate and stamp the record."""
        self._origin = origin
        stream = origin.stream
        try:
            message = {"type": "RECORD", "stream": stream.name, "record": decode(origin.record)}
        except (ValueError, RecursionError):
            self._router.route(stream.name, json.loads(stream.schema))
            self._producer.reject(stream, origin, "nested too deeply to be decoded")
            return
        for name in ("version", "time_extracted"):
            if raw := getattr(origin, name):
                message[name] = json.loads(raw)
        super()._process_record_message(message)

    def take_mapped(self, sink: MessageSink, record: bytes, invalid: str | None) -> None:
        """Take in what the SDK made of a record.

        Args:
            sink: Where the SDK sent it; it may be one of several for the same record.
            record: The record to publish.
            invalid: Why it is not to be published, if so.
        """
        # A stream that a map removes needs no topic: so a route is looked for at the first record.
        self._router.route(sink.stream_name, sink.schema)
        if invalid is None:
            self._producer.add(sink.stream, record, self._origin)
        else:
            self._producer.reject(sink.stream, self._origin, invalid)

    @override
    def _handle_max_record_age(self) -> None:
        """Batches close by their own clock."""

    @override
    def process_endofpipe(self) -> None:
        self._producer.finish()

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Ask for an orderly end; asked again, or with nothing read yet, end at once."""
        if not self._ready:
            sys.exit(0)
        if self._producer.stopping:
            os._exit(SIGNALLED + signum)
        self._producer.stop()

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        return ConnectorCommand.of(super().get_singer_command(), cls.logger)
