"""How the parts of the target are put together from its settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .event_streams.rate_limiter import RateLimiter
from .plugin.common_settings import base_url, developer_url
from .publishing.batches import BatchSettings
from .publishing.context import PublishContext, RejectionLimit
from .publishing.payload import Payload
from .publishing.producer import Producer
from .publishing.publish_client import PublishClient, TopicDirectory
from .routing.router import Router, Routing
from .routing.topic_directory import Topics
from .state.dead_letters import DeadLetters

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping


def build(config: Mapping[str, Any], logger: logging.Logger) -> tuple[Router, Producer]:
    """Put the target together.

    Args:
        config: The settings, checked and with defaults.
        logger: The logger of the plugin.
    """
    payload = Payload(config.get("payload_field"), config.get("message_key_field"))
    producer = Producer(
        _context(config),
        payload,
        _dead_letters(config),
        max_batch_age_secs=config["max_batch_age_secs"],
        logger=logger,
    )
    router = Router(
        Routing(config.get("topics") or {}, config.get("default_topic_id")),
        _topics(config),
        payload,
        producer.route,
        producer.while_waiting,
        skip=config["on_unmapped_stream"] == "skip",
    )
    return router, producer


def _context(config: Mapping[str, Any]) -> PublishContext:
    legacy = config["legacy_api"]
    limits = (
        BatchSettings(max_messages=1, max_bytes=config["max_batch_bytes"], frame_bytes=0)
        if legacy
        else BatchSettings(config["batch_size_rows"], config["max_batch_bytes"])
    )
    connect = partial(
        PublishClient,
        base_url(config),
        legacy=legacy,
        token=config["api_token"],
        timeout_secs=config["request_timeout_secs"],
    )
    return PublishContext(
        connect,
        RateLimiter(config.get("max_requests_per_minute"), config.get("quota_url")),
        RejectionLimit(config.get("max_rejected") if config["on_rejected"] == "dead_letter" else 0),
        limits,
        max_in_flight=config["max_in_flight"],
        max_retry_secs=config["max_retry_secs"],
    )


def _dead_letters(config: Mapping[str, Any]) -> DeadLetters | None:
    if config["on_rejected"] != "dead_letter":
        return None
    return DeadLetters(Path(config["dead_letter_path"]))


def _topics(config: Mapping[str, Any]) -> Topics | None:
    if not config["create_topics"]:
        return None
    directory = TopicDirectory(
        developer_url(config),
        token=config["developer_api_token"],
        timeout_secs=config["request_timeout_secs"],
    )
    return Topics(directory, max_retry_secs=config["max_retry_secs"])
