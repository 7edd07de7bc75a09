"""The target's own settings, and checks beyond their types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from singer_sdk import typing as th

from .event_streams.quota import store_url_problems
from .plugin.config import settings_schema
from .plugin.topics import topics_problems, topics_type
from .publishing.batches import MAX_BODY_BYTES, MAX_MESSAGES
from .state.dead_letters import BEGINNING

SETTINGS = settings_schema(
    th.Property(
        "topics",
        topics_type(
            th.Property(
                "name",
                th.StringType(min_length=1),
                required=True,
                description="Stream name or glob",
            )
        ),
        description="Topics to publish to: an object from stream names or globs, such as "
        "`orders_*` or `*` for the rest, to topic ids, or to objects with `id`; or a list of such "
        "objects with `name`",
    ),
    th.Property(
        "on_unmapped_stream",
        th.StringType(allowed_values=["fail", "skip"]),
        default="fail",
        description="What to do with a stream that has no topic",
    ),
    th.Property(
        "create_topics",
        th.BooleanType,
        default=False,
        description="Create a topic for each stream that has none, with the stream's name and "
        "schema; requires `developer_api_token`",
    ),
    th.Property(
        "batch_size_rows",
        th.IntegerType(minimum=1, maximum=MAX_MESSAGES),
        default=MAX_MESSAGES,
        description="Maximum number of messages per request",
    ),
    th.Property(
        "max_batch_age_secs",
        th.NumberType(minimum=0),
        default=5,
        description="Maximum time in seconds that a message waits for its batch to fill",
    ),
    th.Property(
        "max_in_flight",
        th.IntegerType(minimum=1, maximum=64),
        default=1,
        description="Maximum number of batches of one topic that are sent concurrently; 1 "
        "preserves the order of a topic",
    ),
    th.Property(
        "payload_field",
        th.StringType(min_length=1),
        description="Field of the record to publish instead of the whole record; must be an object",
    ),
    th.Property(
        "message_key_field",
        th.StringType(min_length=1),
        description="Name of a field to add to each message, with a key that identifies the "
        "version of the row, so that consumers can drop duplicates",
    ),
    th.Property(
        "published_rows_url",
        th.StringType(min_length=1),
        secret=True,
        description="Store that remembers the last message of each row, so that only rows that "
        "have changed are published: `file:///path/published-rows.db` or `postgresql://...` (extra "
        "`postgres`); requires `max_in_flight: 1`",
    ),
    th.Property(
        "published_rows_days",
        th.IntegerType(minimum=1, maximum=10_000),
        description="Number of days after which a row that no run has read is forgotten",
    ),
    th.Property(
        "exactly_once",
        th.BooleanType,
        default=False,
        description="After a lost response or an interrupted run, look up in the topic what has "
        "been published; requires `published_rows_url` and permission to consume from the topics, "
        "and sets `message_key_field` to `message_key` if it is not set",
    ),
    th.Property(
        "dry_run",
        th.BooleanType,
        default=False,
        description="Show how many messages, requests and bytes a run would publish, and publish "
        "nothing",
    ),
    th.Property(
        "dead_letter_path",
        th.StringType(min_length=1),
        description="File to which rejected messages are appended, as Singer lines that can be "
        "replayed; if not set, a rejected message ends the run",
    ),
    th.Property(
        "max_rejected",
        th.IntegerType(minimum=0),
        description="Maximum number of messages that a run writes to the dead-letter file before "
        "it fails; no limit if not set",
    ),
)

# Settings of earlier versions and of the SDK that a config may have, and what to do instead.
REMOVED_SETTINGS = {
    "default_topic_id": 'not a setting any more; add "*" with this id to topics',
    "on_rejected": "not a setting any more; remove it: if dead_letter_path is set, rejected "
    "messages are written to this file, otherwise the first one ends the run",
    "max_batch_bytes": "not a setting any more; remove it: the limit is that of the service, "
    f"{MAX_BODY_BYTES:,} bytes",
    "validate_records": "not a setting any more; remove it: the topic's schema decides which "
    "messages are valid",
    "batch_config": "not a setting of this target; remove it here and in the tap's settings, since "
    "BATCH messages are not supported",
    "load_method": "not a setting of this target; remove it: records are always appended to a "
    "topic",
}


def decodes_records(config: Mapping[str, Any]) -> bool:
    """Whether a setting needs decoded records; otherwise they are published as received."""
    names = ("stream_maps", "flattening_enabled", "add_record_metadata")
    return any(config.get(name) for name in names)


def target_problems(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that contradicts another one or the file system.

    The settings include defaults, and may have wrong types.
    """
    found = [*topics_problems(config)]
    if not (config.get("topics") or config.get("create_topics")):
        found.append("topics: no stream has a topic; set topics or create_topics")
    if config.get("create_topics") is True and not config.get("developer_api_token"):
        found.append("create_topics: requires developer_api_token")
    url = config.get("published_rows_url")
    if isinstance(url, str):
        problems = store_url_problems(url, ("postgresql",))
        found += [f"published_rows_url: {problem}" for problem in problems]
        if config.get("max_in_flight") != 1:
            found.append("published_rows_url: requires max_in_flight to be 1")
    elif config.get("exactly_once") is True:
        found.append("exactly_once: requires published_rows_url, the store of published rows")
    elif config.get("published_rows_days"):
        found.append("published_rows_days: requires published_rows_url")
    path = config.get("dead_letter_path")
    if isinstance(path, str) and (problem := _dead_letter_problem(Path(path))):
        found.append(f"dead_letter_path: {problem}")
    return found


def _dead_letter_problem(path: Path) -> str | None:
    if not path.absolute().parent.is_dir():
        return "its folder does not exist"
    if not path.exists():
        return None
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a device, pipe or socket"
        return f"is {kind}; it must be a regular file, or not exist yet"
    try:
        with path.open("rb") as file:
            # A killed run may have written nothing, or only a part of the first line.
            if BEGINNING.startswith(file.read(len(BEGINNING))):
                return None
    except OSError as exc:
        return f"cannot be read ({exc.strerror})"
    return "the file exists and contains something else than dead letters; choose another path"
