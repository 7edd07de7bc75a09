"""The tap and its settings."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import PluginBase
from typing_extensions import override

from .discovery.topics import discover_topics
from .event_streams.rate_limiter import RateLimiter
from .limits import RunLimits, RunStart
from .output.writer import PageWriter
from .plugin.command import ConnectorCommand
from .plugin.common_settings import COMMON_SETTINGS
from .plugin.config_check import CheckedPlugin
from .setting_problems import tap_problems
from .streams import TopicStream
from .sync import Sync

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    import click
    from singer_sdk.helpers.capabilities import CapabilitiesEnum

LOG_SETTINGS = {"LOGLEVEL", "TAP_WORKATO_STREAMS_LOGLEVEL", "SINGER_SDK_LOG_CONFIG"}

START_FROM = th.StringType(allowed_values=["earliest", "latest"])

TOPIC = th.ObjectType(
    th.Property("id", th.IntegerType, required=True, description="Id of the topic"),
    th.Property("name", th.StringType(min_length=1), description="Name of the stream"),
    th.Property("start_date", th.DateTimeType, description="Overrides start_date"),
    th.Property("start_from", START_FROM, description="Overrides start_from"),
    th.Property("schema", th.ObjectType(), description="JSON Schema of the payload"),
    th.Property("schema_path", th.StringType, description="File with that JSON Schema"),
    additional_properties=False,
)


class TapWorkatoStreams(CheckedPlugin, Tap):
    """Singer tap for Workato Event Streams: the messages of topics as records."""

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
        PluginCapabilities.BATCH,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        *COMMON_SETTINGS,
        th.Property(
            "topics",
            th.ArrayType(TOPIC),
            title="Topics",
            description="Topics to read; without them, with developer_api_token, all are read",
        ),
        th.Property(
            "start_from",
            START_FROM,
            default="earliest",
            title="Start from",
            description="Where to start a topic that has no bookmark and no start date",
        ),
        th.Property(
            "start_date",
            th.DateTimeType,
            title="Start date",
            description="RFC 3339 time since which to read a topic that has no bookmark",
        ),
        th.Property(
            "batch_size",
            th.IntegerType(minimum=1, maximum=50),
            default=50,
            title="Batch size",
            description="Messages to ask for in one request",
        ),
        th.Property(
            "timeout_secs",
            th.IntegerType(minimum=0, maximum=60),
            title="Long poll (seconds)",
            description="How long the service may wait for a message: 0, or 50 with tail, if unset",
        ),
        th.Property(
            "tail",
            th.BooleanType,
            default=False,
            title="Tail",
            description="Go on reading as topics grow, until the run is stopped",
        ),
        th.Property(
            "max_messages",
            th.IntegerType(minimum=1),
            title="Max messages",
            description="End the run after so many messages of all topics together",
        ),
        th.Property(
            "max_run_secs",
            th.NumberType(exclusive_minimum=0),
            title="Max run time (seconds)",
            description="End the run after so many seconds",
        ),
        th.Property(
            "on_expired_bookmark",
            th.StringType(allowed_values=["earliest", "since_time", "fail"]),
            default="earliest",
            title="On expired bookmark",
            description="Where to go on when the bookmark is no longer in the topic",
        ),
        th.Property(
            "infer_schema",
            th.BooleanType,
            default=False,
            title="Infer schema",
            description="Infer the schema of a payload from a page of messages, at discovery",
        ),
        th.Property(
            "max_parallel_topics",
            th.IntegerType(minimum=1),
            default=8,
            title="Max parallel topics",
            description="Topics to read side by side; with tail, all are",
        ),
        th.Property(
            "state_interval_secs",
            th.NumberType(exclusive_minimum=0),
            default=5,
            title="State interval (seconds)",
            description="How long a changed state may go untold",
        ),
    ).to_dict()

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - as the SDK's
        self._sync: Sync | None = None
        super().__init__(**kwargs)
        if not os.environ.keys() & LOG_SETTINGS:
            # Metrics are JSON, for those who ask for them; the summaries are for people.
            self.metrics_logger.setLevel(logging.WARNING)

    @override
    def discover_streams(self) -> list[TopicStream]:
        """Make a stream of each topic that the settings, or the Developer API, name."""
        limiter = RateLimiter(self.config.get("max_requests_per_minute"))
        topics = discover_topics(self.config, self.input_catalog, limiter)
        return [TopicStream(self, topic, limiter) for topic in topics]

    @override  # type: ignore[misc]
    def sync_all(self) -> None:
        """Sync the selected streams side by side.

        The SDK syncs one stream after another, and marks this method final; all that runs a tap
        calls it, so this is the one place where the order of reading can be chosen. Batch files
        are left to the SDK.
        """
        streams = [s for s in self.streams.values() if isinstance(s, TopicStream) and s.selected]
        limits = RunLimits(self.config.get("max_messages"), self.config.get("max_run_secs"))
        if self.config.get("batch_config"):
            run_start = RunStart()
            for stream in streams:
                stream.share(run_start, limits)
            super().sync_all()
            self._write_state()
            return
        tail = self.config["tail"]
        self._sync = Sync(
            streams,
            cast("PageWriter", self.message_writer),
            self._write_state,
            limits=limits,
            readers=len(streams) if tail else self.config["max_parallel_topics"],
            tail=tail,
            state_interval_secs=self.config["state_interval_secs"],
        )
        self._sync.run()

    def _write_state(self) -> None:
        if self.state:
            self.state_writer.write_state(self.state)

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        """Make a command whose failures are one line each."""
        return ConnectorCommand.of(super().get_singer_command(), cls.logger)

    @classmethod
    @override
    def own_problems(cls, config: Mapping[str, Any]) -> list[str]:
        """Find what is wrong with the settings of the tap alone."""
        return tap_problems(config)

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Set a flag at the first signal; a second one ends the process at once.

        The SDK's handler writes the state from within whatever was going on: in the middle of a
        line, or, with batch files, past records whose file has not been told.
        """
        signal.signal(signum, signal.SIG_DFL)
        if self._sync is None:
            PluginBase._handle_termination(self, signum, frame)  # noqa: SLF001
        else:
            self._sync.stop()
