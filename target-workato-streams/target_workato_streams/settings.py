"""The target's own settings: their definition, and one dataclass for each concern."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from .event_streams.consume import ConsumeClient
from .event_streams.rate_limiter import RateLimiter
from .event_streams.session import ApiSession
from .plugin.common_settings import COMMON_SETTINGS
from .plugin.pages import split_page
from .publishing.batches import MAX_BODY_BYTES, MAX_MESSAGES, BatchSettings
from .publishing.context import PublishContext, PublishSettings
from .publishing.exactly_once_producer import ExactlyOnceProducer
from .publishing.look_up import TopicReader
from .publishing.payload import Payload
from .publishing.producer import Producer
from .publishing.publish_client import PublishClient
from .routing.router import RoutingSettings

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping


SETTINGS = th.PropertiesList(
    *COMMON_SETTINGS,
    th.Property(
        "topics",
        th.ObjectType(additional_properties=th.IntegerType),
        title="Topics",
        description="Topic ids by stream name or glob, such as orders_*",
    ),
    th.Property(
        "default_topic_id",
        th.IntegerType,
        title="Default topic id",
        description="Topic id of all streams that `topics` does not cover",
    ),
    th.Property(
        "on_unmapped_stream",
        th.StringType(allowed_values=["fail", "skip"]),
        default="fail",
        title="On unmapped stream",
        description="What to do with a stream that has no topic",
    ),
    th.Property(
        "create_topics",
        th.BooleanType,
        default=False,
        title="Create topics",
        description="Create a topic for each stream that has none, with the stream's name and "
        "schema; requires `developer_api_token`",
    ),
    th.Property(
        "batch_size_rows",
        th.IntegerType(minimum=1, maximum=MAX_MESSAGES),
        default=MAX_MESSAGES,
        title="Batch size (rows)",
        description="Maximum number of messages per request",
    ),
    th.Property(
        "max_batch_bytes",
        th.IntegerType(minimum=64, maximum=MAX_BODY_BYTES),
        default=MAX_BODY_BYTES,
        title="Max batch size (bytes)",
        description="Maximum size of a request body in bytes",
    ),
    th.Property(
        "max_batch_age_secs",
        th.NumberType(minimum=0),
        default=5,
        title="Max batch age (seconds)",
        description="Maximum time in seconds that a message waits for its batch to fill",
    ),
    th.Property(
        "max_in_flight",
        th.IntegerType(minimum=1, maximum=64),
        default=1,
        title="Max batches in flight",
        description="Maximum number of batches of one topic that are sent concurrently; 1 "
        "preserves the order of a topic",
    ),
    th.Property(
        "payload_field",
        th.StringType(min_length=1),
        title="Payload field",
        description="Publish this field of the record, an object, instead of the record",
    ),
    th.Property(
        "message_key_field",
        th.StringType(min_length=1),
        title="Message key field",
        description="Add a field of this name that identifies the version of the row: the same "
        "whenever it is published again, another after an update, so that a consumer can drop "
        "duplicates",
    ),
    th.Property(
        "exactly_once",
        th.BooleanType,
        default=False,
        title="Exactly once",
        description="Publish only what the topic does not hold, after a lost response and after "
        "an interrupted run; requires message_key_field, max_in_flight 1 and an API client that "
        "may also consume from the topics",
    ),
    th.Property(
        "on_rejected",
        th.StringType(allowed_values=["fail", "dead_letter"]),
        default="fail",
        title="On rejected message",
        description="What to do with a message that the service rejects; `dead_letter` requires "
        "`dead_letter_path`",
    ),
    th.Property(
        "dead_letter_path",
        th.StringType(min_length=1),
        title="Dead letter path",
        description="File to which rejected messages are appended, as Singer lines that can be "
        "replayed",
    ),
    th.Property(
        "max_rejected",
        th.IntegerType(minimum=0),
        title="Max rejected messages",
        description="Maximum number of messages in the dead-letter file before the run fails; "
        "not limited if not set",
    ),
    # The SDK's own setting, with another default: the topic's schema is what matters.
    th.Property(
        "validate_records",
        th.BooleanType,
        default=False,
        title="Validate records",
        description="Whether to validate records against the schema of their stream",
    ),
)


def publish_context(config: Mapping[str, Any]) -> PublishContext:
    """Read how records are published from the checked settings."""
    max_bytes, max_age = config["max_batch_bytes"], config["max_batch_age_secs"]
    # Contract: "Legacy domain": no batch endpoint.
    batch = (
        BatchSettings(max_messages=1, max_bytes=max_bytes, max_age_secs=max_age, frame_bytes=0)
        if config["legacy_api"]
        else BatchSettings(config["batch_size_rows"], max_bytes, max_age)
    )
    dead_letter = config["on_rejected"] == "dead_letter"
    settings = PublishSettings(
        payload=_payload(config),
        batch=batch,
        max_in_flight=config["max_in_flight"],
        max_retry_secs=config["max_retry_secs"],
        max_rejected=config.get("max_rejected") if dead_letter else 0,
        dead_letter_path=Path(config["dead_letter_path"]) if dead_letter else None,
        exactly_once=config["exactly_once"],
    )
    limiter = RateLimiter.from_config(config)

    def connect(topic_id: int) -> PublishClient:
        session = ApiSession.for_messages(config, limiter, f"topic {topic_id}")
        return PublishClient(session, topic_id)

    return PublishContext(settings, connect, limiter)


def producer(config: Mapping[str, Any], logger: logging.Logger) -> Producer:
    """Make the producer that the checked settings ask for."""
    context = publish_context(config)
    if config["exactly_once"]:
        return ExactlyOnceProducer(context, logger, open_reader(config, context.limiter))
    return Producer(context, logger)


def open_reader(
    config: Mapping[str, Any], limiter: RateLimiter
) -> Callable[[int, str], TopicReader]:
    """Return what opens a connection that reads a topic, by its id and its label."""

    def open_one(topic_id: int, label: str) -> TopicReader:
        session = ApiSession.for_messages(config, limiter, label)
        client = ConsumeClient(session, topic_id, split_page)
        return TopicReader(client, label, config["message_key_field"])

    return open_one


def routing_settings(config: Mapping[str, Any]) -> RoutingSettings:
    """Read which topic a stream is published to from the checked settings."""
    return RoutingSettings(
        topics=config.get("topics") or {},
        default_topic_id=config.get("default_topic_id"),
        skip_unmapped=config["on_unmapped_stream"] == "skip",
        payload=_payload(config),
    )


def decodes_records(config: Mapping[str, Any]) -> bool:
    """Whether a setting needs decoded records; otherwise they are published as received."""
    names = ("stream_maps", "flattening_enabled", "add_record_metadata", "validate_records")
    return any(config.get(name) for name in names)


def _payload(config: Mapping[str, Any]) -> Payload:
    return Payload(config.get("payload_field"), config.get("message_key_field"))
