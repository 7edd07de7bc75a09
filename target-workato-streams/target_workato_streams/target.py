"""The target: creates its parts from the settings, and handles each message of the input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

import click
from singer_sdk import Target
from singer_sdk.helpers.capabilities import PluginCapabilities
from singer_sdk.mapper import RemoveRecordTransform
from typing_extensions import override

from .delivery import Delivery
from .delivery.at_least_once import AtLeastOnce
from .delivery.published_rows import MemorySettings, PublishedRows
from .delivery.store import look_into_store, open_store
from .delivery.topic_reader import TopicReader
from .event_streams.consume import ConsumeClient
from .event_streams.errors import SettingError
from .event_streams.json import decode
from .event_streams.rate_limiter import RateLimiter
from .event_streams.session import ApiSession, messages_host
from .mapping import MappedStream, definitions, mapping
from .plugin.config import CheckedPlugin
from .plugin.monitoring import histogram, serve_metrics
from .plugin.problems import unmatched_maps
from .plugin.wording import counted, listed
from .publishing.client import PublishClient
from .publishing.context import PublishContext, PublishSettings
from .publishing.messages import OutgoingMessage, message_key_field
from .publishing.producer import Producer
from .publishing.summary import target_metrics
from .routing.router import TAP_FIELDS, Router
from .settings import REMOVED_SETTINGS, SETTINGS, decodes_records, target_problems
from .singer_messages import (
    InputError,
    Record,
    RecordBeforeSchemaError,
    SingerMessage,
    Stream,
    decode_schema,
)
from .stdin_reader import StdinReader

if TYPE_CHECKING:
    from prometheus_client import Metric

# From a fast response to waiting several minutes for the quota.
LATENCY_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


def make_producer(config: Mapping[str, Any]) -> Producer:
    """Create the producer from the settings, and serve its metrics if they are enabled."""
    context = _context(config)
    producer = Producer(context)
    if address := config.get("metrics_address"):
        serve_metrics(address, partial(_metrics, producer, context))
    return producer


def _metrics(producer: Producer, context: PublishContext) -> Iterator[Metric]:
    # A copy, because the main thread may add a topic.
    topics = producer.topics.copy()
    tallies = {topic_id: topic.total for topic_id, topic in topics.items()}
    in_flight = {topic_id: topic.queue.in_flight for topic_id, topic in topics.items()}
    return target_metrics(tallies, in_flight, context.latency, context.limiter.stats)


def _context(config: Mapping[str, Any]) -> PublishContext:
    limiter = RateLimiter(config.get("max_requests_per_minute"), config.get("quota_url"))
    host = messages_host(config)

    def connect(topic_id: int) -> PublishClient:
        session = ApiSession(host, config, limiter, f"topic {topic_id}")
        return PublishClient(session, topic_id)

    def open_reader(topic_id: int, label: str) -> TopicReader:
        session = ApiSession(host, config, limiter, label)
        client = ConsumeClient(session, topic_id)
        return TopicReader(client, label, message_key_field(config) or "")

    url, dry_run = config.get("published_rows_url"), config["dry_run"]
    open_or_look = look_into_store if dry_run else open_store
    store = open_or_look(url) if url else None

    memory = MemorySettings(
        store,
        host.url,
        message_key_field(config) or "",
        config.get("published_rows_days"),
        open_reader if config["exactly_once"] else None,
        dry_run,
    )

    def deliver(topic_id: int) -> Delivery[OutgoingMessage]:
        return PublishedRows(topic_id, memory) if url else AtLeastOnce()

    context = PublishContext(PublishSettings.from_config(config), connect, limiter, deliver, store)
    if config.get("metrics_address"):
        context.latency = histogram(
            "target_acknowledgement_seconds",
            "Time from sending a batch to its acknowledgement, including retries and quota waits.",
            LATENCY_BOUNDS,
        )
    return context


class TargetWorkatoStreams(CheckedPlugin, Target):
    """Singer target for Workato Event Streams."""

    name = "target-workato-streams"
    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS
    removed_settings = REMOVED_SETTINGS
    own_problems = staticmethod(target_problems)
    capabilities = [  # noqa: RUF012 - as in the SDK
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]
    message_reader_class = StdinReader
    message_reader: StdinReader

    # Whether a signal has arrived; of the class, because `main` has no instance.
    stopped: ClassVar[bool] = False
    # A signal may arrive before the producer exists.
    _ready = False

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - of the SDK
        super().__init__(**kwargs)
        config = self.config
        self._decodes = decodes_records(config)
        self._streams: dict[str, Stream] = {}
        self._mapped: dict[str, list[MappedStream]] = {}
        self._producer = make_producer(config)
        self._router = Router(config, self._producer)
        self.message_reader.producer = self._producer
        self._ready = True

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        option = click.Option(
            ["--publish-again"],
            metavar="TOPIC_ID",
            help="Forget the published rows of a topic, or of `all`, so that the next run "
            "publishes them again.",
            expose_value=False,
            callback=cls._forget_rows,
        )
        command.params.append(option)
        return command

    @classmethod
    def _forget_rows(cls, ctx: click.Context, param: click.Option, value: str | None) -> None:  # noqa: ARG003
        """Forget the published rows of topics, and exit."""
        if value is None:
            return
        given = ctx.params["config"]
        target = cls(config=given.config, parse_env_config=given.parse_env)
        config, store = target.config, target._producer.store
        if store is None:
            raise SettingError("--publish-again: requires published_rows_url")
        host = messages_host(config).url
        known = store.topics(host)
        chosen = [topic for topic in known if value in {"all", str(topic)}]
        if not chosen:
            raise SettingError(
                f"--publish-again: published_rows_url has no topic {value}; it has "
                f"{listed([str(topic) for topic in known]) or 'none'}"
            )
        for topic in chosen:
            stored = store.open_topic(
                host, topic, f"topic {topic}", config.get("published_rows_days")
            )
            rows = counted(store.forget_all(stored.number), "row")
            cls.logger.info("topic %d: forgot %s; the next run publishes them again", topic, rows)
        ctx.exit()

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        for name in cls.removed_settings:
            config_jsonschema["properties"].pop(name, None)

    @override
    def _process_schema_message(self, message: SingerMessage) -> None:  # type: ignore[override]  # not a dict
        message.need("stream", "schema")
        name, keys, text = message.stream, message.key_properties, bytes(message.schema)
        known = self._streams.get(name)
        if known and (known.key_properties, known.schema) == (tuple(keys or ()), text):
            return
        schema = decode_schema(text)
        may_be_from_topic = schema["properties"].keys() >= TAP_FIELDS
        if self._decodes:
            with mapping(name):
                self.mapper.register_raw_stream_schema(name, schema, keys)
                maps = self.mapper.stream_maps[name]
                rules = definitions(self.config.get("stream_maps") or {}, name)
                self._mapped[name] = [
                    MappedStream(each, schema, rule, self)
                    for each, rule in zip(maps, rules, strict=True)
                    if not isinstance(each, RemoveRecordTransform)
                ]
        else:
            self._router.route(name, schema)
        self._streams[name] = Stream(name, tuple(keys or ()), text, may_be_from_topic)

    @override
    def _process_record_message(self, message: SingerMessage) -> None:  # type: ignore[override]  # not a dict
        self._publish(message, bytes(message.record), self.message_reader.line_number)

    @override
    def _process_batch_message(self, message: SingerMessage) -> None:  # type: ignore[override]  # not a dict
        # The quota is slower than records, so batch files would only be a second input.
        raise InputError(
            f"stream {message.stream}: BATCH messages are not supported; remove batch_config from "
            "the tap's settings"
        )

    @override
    def _process_state_message(self, message: SingerMessage) -> None:  # type: ignore[override]  # not a dict
        message.need("value")
        state = bytes(message.value)
        # Some taps write null before they have a state.
        if state != b"null":
            if state[:1] != b"{":
                raise InputError("the value of the state is not an object")
            self._producer.add_state(state)

    @override
    def _process_activate_version_message(self, message: SingerMessage) -> None:  # type: ignore[override]  # not a dict
        self.logger.debug("%s: ACTIVATE_VERSION does not apply to a topic, ignored", message.stream)

    def _publish(self, message: SingerMessage, text: bytes, number: int) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            message.need("stream")
            raise RecordBeforeSchemaError(f"stream {message.stream} has a record before its schema")
        if not text.startswith(b"{"):
            message.need("record")
            raise InputError("the record is not an object")
        record = Record(stream, text, number, bytes(message.version), bytes(message.time_extracted))
        if self._decodes:
            self._map(record)
        else:
            self._add(stream, text, record)

    def _add(self, stream: Stream, text: bytes, record: Record, problem: str | None = None) -> None:
        # Each record, because stream maps may have merged several topics into one stream.
        if record.stream.may_be_from_topic:
            self._router.check_source(stream.name, record.text)
        self._producer.add(stream, text, record, problem)

    def _map(self, record: Record) -> None:
        """Publish a record after its stream maps, once for each of them."""
        stream = record.stream
        try:
            fields = decode(record.text)
        except (ValueError, RecursionError):
            fields = None
        for mapped in self._mapped[stream.name]:
            text: bytes | None = record.text
            if fields is not None:
                with mapping(stream.name):
                    text = mapped.apply(fields, record)
            if text is not None:
                # Routed only here, because a stream that is removed by a map needs no topic.
                self._router.route(mapped.stream.name, mapped.schema)
                problem = "nested too deeply" if fields is None else None
                self._add(mapped.stream, text, record, problem)

    @override
    def process_endofpipe(self) -> None:
        for line in unmatched_maps(self.config, self._streams):
            self.logger.warning("%s", line)
        self._producer.finish()

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Shut down; exit immediately on a second signal, or if nothing has been read."""
        exit_code = 128 + signum  # as in shells
        if not self._ready:
            sys.exit(exit_code)
        if self._producer.stopping:
            os._exit(exit_code)
        type(self).stopped = True
        self._producer.stop()
