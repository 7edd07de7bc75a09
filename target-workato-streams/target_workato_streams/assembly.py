"""How the parts of the target are put together from its settings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .batches import Limits
from .client import Topic, TopicDirectory
from .dead_letters import DeadLetters
from .delivery import Delivery
from .pacing import Budget
from .payload import Payload
from .routing import Router, Routing
from .settings import base_url, developer_url
from .terms import Allowance, Terms
from .topics import Topics

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping


def build(config: Mapping[str, Any], logger: logging.Logger) -> tuple[Router, Delivery]:
    """Put the target together.

    Args:
        config: The settings, checked and with defaults.
        logger: The logger of the plugin.
    """
    payload = Payload(config.get("payload_field"), config.get("message_key_field"))
    delivery = Delivery(
        _terms(config),
        payload,
        _dead_letters(config),
        max_batch_age_secs=config["max_batch_age_secs"],
        logger=logger,
    )
    router = Router(
        Routing(config.get("topics") or {}, config.get("default_topic_id")),
        _topics(config),
        payload,
        delivery.route,
        delivery.meanwhile,
        skip=config["on_unmapped_stream"] == "skip",
    )
    return router, delivery


def _terms(config: Mapping[str, Any]) -> Terms:
    legacy = config["legacy_api"]
    limits = (
        Limits(max_messages=1, max_bytes=config["max_batch_bytes"], frame_bytes=0)
        if legacy
        else Limits(config["batch_size_rows"], config["max_batch_bytes"])
    )
    connect = partial(
        Topic,
        base_url(config),
        legacy=legacy,
        token=config["api_token"],
        timeout_secs=config["request_timeout_secs"],
    )
    return Terms(
        connect,
        Budget(config.get("max_requests_per_minute")),
        Allowance(config.get("max_rejected") if config["on_rejected"] == "dead_letter" else 0),
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
