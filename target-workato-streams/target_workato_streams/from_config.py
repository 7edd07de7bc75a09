"""Creates the parts of the target from its validated settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .event_streams.consume import ConsumeClient
from .event_streams.developer_api import DeveloperApi
from .event_streams.rate_limiter import RateLimiter
from .event_streams.session import ApiSession
from .plugin.pages import split_page
from .publishing.batches import BatchSettings
from .publishing.context import PublishContext, PublishSettings
from .publishing.exactly_once_producer import ExactlyOnceProducer
from .publishing.look_up import KeyConsumer
from .publishing.metrics import target_metrics
from .publishing.payload import Payload
from .publishing.producer import Producer
from .publishing.publish_client import PublishClient
from .routing.router import Router, RoutingSettings
from .routing.topic_directory import TopicDirectory

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping


def make_producer(config: Mapping[str, Any], logger: logging.Logger) -> Producer:
    """Create the producer from the settings, and serve its metrics if they are enabled."""
    context = _context(config)
    producer = (
        ExactlyOnceProducer(context, logger, open_consumer(config, context.limiter))
        if config["exactly_once"]
        else Producer(context, logger)
    )
    if address := config.get("metrics_address"):
        from .plugin.prometheus import serve_metrics  # noqa: PLC0415 - needs an extra

        serve_metrics(address, partial(target_metrics, producer.producers, context))
    return producer


def make_router(config: Mapping[str, Any], producer: Producer) -> Router:
    """Create the router from the settings."""
    settings = RoutingSettings(
        topics=config.get("topics") or {},
        default_topic_id=config.get("default_topic_id"),
        skip_unmapped=config["on_unmapped_stream"] == "skip",
        payload=_payload(config),
    )
    api = DeveloperApi.from_config(config) if config["create_topics"] else None
    return Router(settings, TopicDirectory(api) if api else None, producer)


def _context(config: Mapping[str, Any]) -> PublishContext:
    """Create the context of all producers from the settings."""
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


def open_consumer(
    config: Mapping[str, Any], limiter: RateLimiter
) -> Callable[[int, str], KeyConsumer]:
    """Return a function that opens a connection for reading a topic, by its id and label."""

    def open_one(topic_id: int, label: str) -> KeyConsumer:
        session = ApiSession.for_messages(config, limiter, label)
        client = ConsumeClient(session, topic_id, split_page)
        return KeyConsumer(client, label, config["message_key_field"])

    return open_one


def _payload(config: Mapping[str, Any]) -> Payload:
    return Payload(config.get("payload_field"), config.get("message_key_field"))
