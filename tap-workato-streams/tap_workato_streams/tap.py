"""The tap plugin."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from types import FrameType
from typing import IO, Any, ClassVar, cast

from singer_sdk import Tap
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import PluginBase, _ConfigInput
from singer_sdk.singerlib import Catalog
from singer_sdk.streams import Stream
from typing_extensions import override

from .discovery.catalog import check_format, log_differences, parse_catalog
from .discovery.topics import check_tables, discover_topics, infer_schema
from .event_streams.consume import ConsumeClient
from .event_streams.errors import SettingError
from .event_streams.rate_limiter import RateLimiter
from .event_streams.session import ApiSession, messages_host
from .output.summary import tap_metrics
from .output.writer import PageWriter
from .plugin.config import CheckedPlugin, read_json
from .plugin.monitoring import serve_metrics
from .plugin.problems import unmatched_maps
from .plugin.wording import counted, listed
from .reading.bookmarks import Topic, bookmarks_of, by_stream
from .reading.clock import RunClock
from .reading.consumer import TopicConsumer
from .records.columns import Layout
from .settings import REMOVED_SETTINGS, SETTINGS, ReadSettings, RunSettings, tap_problems
from .streams import NestedStream, TopicStream
from .sync import Sync


def _read(kind: str, source: Any) -> tuple[str, Any]:  # noqa: ANN401 - JSON
    """Return the label of a state or catalog for errors, and its content, also of a file."""
    if not hasattr(source, "read"):
        return kind, source
    label = f"{kind} file {source.name}"
    return label, read_json(source, label)


class TapWorkatoStreams(CheckedPlugin, Tap):
    """Singer tap for Workato Event Streams: topics are streams, messages are records."""

    name = "tap-workato-streams"
    dynamic_catalog = True
    message_writer_class = PageWriter
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        TapCapabilities.TEST,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]
    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS
    own_problems = staticmethod(tap_problems)
    removed_settings: ClassVar[Mapping[str, str]] = REMOVED_SETTINGS

    def __init__(
        self,
        *,
        state: object = None,
        catalog: object = None,
        **kwargs: Any,  # noqa: ANN401 - the SDK's other arguments
    ) -> None:
        self._sync: Sync | None = None
        self._state_file, state = _read("state", {} if state is None else state)
        self._bookmarks = bookmarks_of(state, self._state_file)
        if catalog is not None and not isinstance(catalog, Catalog):
            label, catalog = _read("catalog", catalog)
            catalog = parse_catalog(catalog, label)
        super().__init__(catalog=catalog, **kwargs)
        if self._bookmarks:
            self._state["bookmarks"] = self._bookmarks

    @classmethod
    @override
    def invoke(
        cls,
        *,
        config: _ConfigInput | None = None,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Run the tap with these files; unlike in the SDK, errors contain the file's name."""
        super(Tap, cls).invoke(**kwargs)
        cls.print_version(print_fn=cls.logger.info)
        config = config or _ConfigInput()
        tap = cls(
            config=config.config, parse_env_config=config.parse_env, state=state, catalog=catalog
        )
        tap.sync_all()

    @override
    def discover_streams(self) -> list[TopicStream]:
        """Create a stream for each topic in the settings, or in the workspace."""
        config = self.config
        if self.input_catalog:
            check_format(self.input_catalog, config["record_format"])
        self._limiter = RateLimiter(config.get("max_requests_per_minute"), config.get("quota_url"))
        settings = ReadSettings.from_config(config)
        clock = RunClock()
        topics = self._topics
        unknown = self._without_schema(topics)
        levels = self._layout.levels if self._layout else 0
        streams = []
        for topic in topics:
            client = self._client(topic)
            if topic in unknown:
                others = (self._client(t, max_retry_secs=0) for t in topics if t is not topic)
                topic = infer_schema(topic, client, others, settings.batch_size, levels)  # noqa: PLW2901 - the same topic
                client.session.close()
            streams.append(self._stream(TopicConsumer(topic, client, settings, clock)))
        if self.input_catalog:
            log_differences(self.input_catalog, [stream.name for stream in streams])
        return streams

    def _client(self, topic: Topic, **settings: float) -> ConsumeClient:
        config = {**self.config, **settings}
        session = ApiSession(messages_host(config), config, self._limiter, str(topic))
        return ConsumeClient(session, topic.id)

    def _without_schema(self, topics: Sequence[Topic]) -> list[Topic]:
        """Return the topics whose schemas have to be inferred, because nothing contains them."""
        if self.input_catalog is not None or self._layout is None:
            return []
        bookmarks = by_stream(self._bookmarks, topics, self._state_file)
        known = {name for name, bookmark in bookmarks.items() if bookmark.get("columns")}
        return [each for each in topics if each.payload_schema is None and each.name not in known]

    @cached_property
    def _topics(self) -> list[Topic]:
        return discover_topics(self.config, self.input_catalog, self._bookmarks)

    @cached_property
    def _layout(self) -> Layout | None:
        return Layout.from_config(self.config)

    def _stream(self, consumer: TopicConsumer) -> TopicStream:
        if layout := self._layout:
            # Runs with nested records start faster without this import.
            from .table_stream import TableStream  # noqa: PLC0415

            return TableStream(self, consumer, layout)
        return NestedStream(self, consumer)

    @override
    def setup_mapper(self) -> None:
        """Do nothing: each stream creates its own maps when its state is known."""
        PluginBase.setup_mapper(self)

    @override  # type: ignore[misc]  # final in the SDK
    def sync_all(self) -> None:
        """Sync the selected streams concurrently.

        The SDK syncs one stream after another and marks this method as final, but everything that
        runs a tap calls it, so it is the only place to change this.
        """
        if self.input_catalog is None:  # All are selected, and may be sampled with the streams.
            check_tables(self._topics, self.config)
        streams = self._selected()
        settings = RunSettings.from_config(self.config)
        if address := self.config.get("metrics_address"):
            summaries = [stream.summary for stream in streams]
            serve_metrics(address, lambda: tap_metrics(summaries, self._limiter.stats))
        self._sync = Sync(streams, settings, self._write_state, self._limiter)
        self._sync.run()

    @override  # type: ignore[misc]  # final in the SDK
    def run_sync_dry_run(
        self, dry_run_record_limit: int | None = 1, streams: Iterable[Stream] | None = None
    ) -> bool:
        """Read one page of each topic, for ``--test`` and the SDK's tests of taps."""
        for stream in cast("Iterable[TopicStream]", streams or self.streams.values()):
            stream.write_schema()
            page = next(stream.consumer.pages(stream.bookmark))
            count = len(page.messages)
            stream.write_page(page.first(min(count, dry_run_record_limit or count)))
        self._write_state()
        topics = counted(len(self.streams), "topic")
        self.logger.info("the test succeeded: %s can be read: %s", topics, listed([*self.streams]))
        return True

    def _selected(self) -> list[TopicStream]:
        """Return the streams to read, each with its bookmark in the state."""
        streams = [s for s in self.streams.values() if isinstance(s, TopicStream) and s.selected]
        if not streams and self.input_catalog is not None:
            raise SettingError("no stream to read: select at least one in the catalog")
        if not streams:
            self.logger.warning("no stream to read: the workspace has no topics")
        for line in unmatched_maps(self.config, self.streams):
            self.logger.warning("%s", line)
        topics = [stream.topic for stream in streams]
        if self.input_catalog is not None:
            check_tables(topics, self.config)
        found = by_stream(self._bookmarks, topics, self._state_file)
        for topic in topics:
            # Without its own bookmark, it would use that of the topic that had its name before.
            self._bookmarks.pop(topic.name, None)
        self._bookmarks.update(deepcopy(found))
        self._check_tables(streams)
        return streams

    @staticmethod
    def _check_tables(streams: Iterable[TopicStream]) -> None:
        """Raise `SettingError` if a loader would drop columns of topics that share a table."""
        first: dict[str, tuple[Topic, object]] = {}
        for stream in streams:
            for name, schema in stream.find_tables().items():
                topic, known = first.setdefault(name, (stream.topic, schema))
                if topic is not stream.topic and (schema is None or schema != known):
                    raise SettingError(
                        f"{topic} and {stream.topic} would share the columns of {name}; use other "
                        "names, nested records, or one declared schema and schema_evolution rescue"
                    )

    def _write_state(self) -> None:
        if self.state:
            self.state_writer.write_state(self.state)

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop the run at the first signal; exit immediately at the second one.

        The SDK's handler would emit the state immediately: in the middle of a line.
        """
        signal.signal(signum, signal.SIG_DFL)
        if self._sync:
            self._sync.stop(is_signaled=True)
        else:
            # With exit code 0, a scheduler would take the run for one that has read everything.
            self.logger.warning("stopped before the first message was read; run again")
            signal.raise_signal(signum)
