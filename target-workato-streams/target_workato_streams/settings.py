"""The settings of the target, and what may be wrong with them beside their types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from .plugin.common_settings import COMMON_SETTINGS
from .publishing.batches import MAX_BODY_BYTES, MAX_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS = th.PropertiesList(
    *COMMON_SETTINGS,
    th.Property(
        "topics",
        th.ObjectType(additional_properties=th.IntegerType),
        title="Topics",
        description="Topic id of each stream, by its name or a glob such as orders_*",
    ),
    th.Property(
        "default_topic_id",
        th.IntegerType,
        title="Default topic id",
        description="Topic of the streams that topics does not name",
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
        description="Create the topic of a stream that has none, named as the stream, with its "
        "schema; needs developer_api_token",
    ),
    th.Property(
        "batch_size_rows",
        th.IntegerType(minimum=1, maximum=MAX_MESSAGES),
        default=MAX_MESSAGES,
        title="Batch size (rows)",
        description="Most messages in one request",
    ),
    th.Property(
        "max_batch_bytes",
        th.IntegerType(minimum=64, maximum=MAX_BODY_BYTES),
        default=MAX_BODY_BYTES,
        title="Max batch size (bytes)",
        description="Most bytes of the body of one request",
    ),
    th.Property(
        "max_batch_age_secs",
        th.NumberType(minimum=0),
        default=5,
        title="Max batch age (seconds)",
        description="How long a message may wait for its batch to fill",
    ),
    th.Property(
        "max_in_flight",
        th.IntegerType(minimum=1, maximum=64),
        default=1,
        title="Max batches in flight",
        description="Most batches of one topic under way at a time; 1 keeps the order of a topic",
    ),
    th.Property(
        "payload_field",
        th.StringType(min_length=1),
        title="Payload field",
        description="Publish this field of the record, an object, in place of the record",
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
        "on_rejected",
        th.StringType(allowed_values=["fail", "dead_letter"]),
        default="fail",
        title="On rejected message",
        description="What to do with a message that the service does not take",
    ),
    th.Property(
        "dead_letter_path",
        th.StringType(min_length=1),
        title="Dead letter path",
        description="File to which rejected messages are added, as Singer lines to be replayed",
    ),
    th.Property(
        "max_rejected",
        th.IntegerType(minimum=0),
        title="Max rejected messages",
        description="How many messages may be set aside before the run fails",
    ),
    # The SDK's own setting, with another default: the topic's schema is what counts.
    th.Property(
        "validate_records",
        th.BooleanType,
        default=False,
        title="Validate records",
        description="Whether to check records against the schema of their stream",
    ),
)


def target_problems(config: Mapping[str, Any]) -> list[str]:
    """Find the settings that do not go together.

    Args:
        config: The settings, with defaults; values may be of a wrong type.

    Returns:
        One line for each fault.
    """
    found = []
    if not (config.get("topics") or config.get("default_topic_id") or config.get("create_topics")):
        found.append("topics: no stream has a topic; set topics, default_topic_id or create_topics")
    if config.get("create_topics") is True and not config.get("developer_api_token"):
        found.append("create_topics: needs developer_api_token")
    path = config.get("dead_letter_path")
    if config.get("on_rejected") == "dead_letter" and not path:
        found.append("on_rejected: dead_letter needs dead_letter_path")
    if isinstance(path, str) and not Path(path).absolute().parent.is_dir():
        found.append("dead_letter_path: its folder does not exist")
    if isinstance(path, str) and Path(path).is_dir():
        found.append("dead_letter_path: is a folder, and must be a file")
    if config.get("legacy_api") is True and config.get("data_center") == "trial":
        found.append("legacy_api: the trial data center has no legacy domain")
    if config.get("load_method") not in {None, "append-only"}:
        found.append("load_method: a topic can only be added to; use append-only")
    return found


def decodes(config: Mapping[str, Any]) -> bool:
    """Whether records have to be decoded, which else travel as the bytes that came in."""
    return any(
        config.get(name)
        for name in ("stream_maps", "flattening_enabled", "add_record_metadata", "validate_records")
    )
