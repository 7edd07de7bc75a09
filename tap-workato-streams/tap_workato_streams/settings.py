"""The tap's own settings, checks beyond their types, and a dataclass for each concern."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable
from singer_sdk import typing as th
from singer_sdk.singerlib import resolve_schema_references
from typing_extensions import Self

from .event_streams.consume import parse_time
from .event_streams.errors import SettingError
from .plugin.config import settings_schema
from .plugin.topics import topic_items, topics_problems, topics_type
from .records.columns import NESTED, RECORD_FORMATS, UNPACKED
from .records.evolution import MODES

# Less than the timeout of common gateways, such as the 50 s of haproxy.
TAIL_TIMEOUT_SECS = 45

_START_FROM = th.StringType(allowed_values=["earliest", "latest"])

_TOPICS = topics_type(
    th.Property(
        "name",
        th.StringType(min_length=1),
        description="Stream name, in a list (default: `topic_<id>`)",
    ),
    th.Property("start_date", th.DateTimeType, description="Overrides `start_date`"),
    th.Property("end_date", th.DateTimeType, description="Overrides `end_date`"),
    th.Property("start_from", _START_FROM, description="Overrides `start_from`"),
    th.Property(
        "schema",
        th.CustomType({"type": ["object", "string"]}),
        description="JSON Schema of the payload, or the path of a file that contains it",
    ),
    th.Property(
        "key_properties",
        th.ArrayType(th.StringType(min_length=1)),
        description="Columns that are the key of unpacked records instead of `message_id`",
    ),
)

SETTINGS = settings_schema(
    th.Property(
        "topics",
        _TOPICS,
        description="Topics to read: an object from stream names to topic ids, or to objects with "
        "`id` and the settings below; or a list of such objects with `name`. If not set, all "
        "topics of the workspace are read, which requires `developer_api_token`.",
    ),
    th.Property(
        "start_from",
        _START_FROM,
        default="earliest",
        description="Where to start reading a topic that has neither a bookmark nor a start date",
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        description="Date or time from which to read a topic that has no bookmark, in UTC if it "
        "has no offset; cannot be combined with `start_from: latest`",
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        description="Date or time up to which messages are read, in UTC if it has no offset. A "
        "later run without it continues from there. Cannot be combined with `tail`.",
    ),
    th.Property(
        "batch_size",
        th.IntegerType(minimum=1, maximum=50),
        default=50,
        description="Maximum number of messages per request",
    ),
    th.Property(
        "timeout_secs",
        th.IntegerType(minimum=0, maximum=60),
        description="Maximum time in seconds that a request waits for messages (long poll). "
        f"Default: 0, or {TAIL_TIMEOUT_SECS} in tail mode, where it must be at least 1.",
    ),
    th.Property(
        "tail",
        th.BooleanType,
        default=False,
        description="Keep reading new messages until the tap is stopped",
    ),
    th.Property(
        "max_messages",
        th.IntegerType(minimum=1),
        description="End the run after this many messages, in all topics together",
    ),
    th.Property(
        "max_run_secs",
        th.IntegerType(minimum=1),
        description="End the run after this many seconds",
    ),
    th.Property(
        "on_expired_bookmark",
        th.StringType(allowed_values=["earliest", "since_time", "fail"]),
        default="earliest",
        description="What to do if the bookmarked message has expired: continue at the earliest "
        "message (`earliest`) or at the time of the bookmark (`since_time`), or end "
        "the run (`fail`)",
    ),
    th.Property(
        "record_format",
        th.StringType(allowed_values=list(RECORD_FORMATS)),
        default=NESTED,
        description="`nested`: the payload is one property of the record, unchanged. `unpacked`: "
        "its fields are properties of the record, and so columns in a warehouse.",
    ),
    th.Property(
        "schema_evolution",
        th.StringType(allowed_values=list(MODES)),
        description="What to do with data that does not fit the schema, if records are unpacked or "
        "flattened: add new fields as columns (`add_columns`) or do so in the next run "
        "(`add_columns_next_run`), keep the data in the column `_rescued` (`rescue`), end the run "
        "(`fail`), or drop the data (`none`). Default: `rescue` if the schema is declared, "
        "otherwise `add_columns`.",
    ),
    th.Property(
        "max_parallel_topics",
        th.IntegerType(minimum=1),
        default=8,
        description="Number of topics to read concurrently. In tail mode, all topics are read "
        "concurrently.",
    ),
)


# Settings of earlier versions and of the SDK that a config may have, and what to do instead.
REMOVED_SETTINGS = {
    "infer_schema": "not a setting any more; remove it: the schema is inferred if records are "
    "unpacked or flattened, and nested records need none",
    "state_interval_secs": "not a setting any more; remove it: a changed state is emitted within 5 "
    "seconds",
    "batch_config": "not a setting of this tap; remove it: batch files could not be written faster "
    "than records",
}


def tap_problems(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that contradicts another one or the file system.

    The settings include defaults, and may have wrong types.
    """
    return [*_source_problems(config), *_start_problems(config), *_mode_problems(config)]


def _source_problems(config: Mapping[str, Any]) -> Iterator[str]:
    if not config.get("topics") and not config.get("developer_api_token"):
        yield "topics: list the topics to read, or set developer_api_token to read all of them"
    yield from topics_problems(config)
    for path, item in topic_items(config.get("topics")).items():
        if isinstance(name := item.get("name"), str) and re.search(r"[*?\[]", name):
            yield (
                f"{path}: a topic cannot be named after a pattern, because each topic is a stream; "
                "give each topic its own name (only the target has patterns)"
            )
        if item.get("key_properties") and config.get("record_format") == NESTED:
            yield (
                f"{path}.key_properties: nested records have no columns but message_id for a key; "
                f"set record_format to {UNPACKED}"
            )
        try:
            declared_schema(item)
        except SettingError as exc:
            yield f"{path}.{exc}"


def _start_problems(config: Mapping[str, Any]) -> Iterator[str]:
    topics = topic_items(config.get("topics"))
    levels = {"": config, **{f"{path}.": item for path, item in topics.items()}}
    for level, settings in levels.items():
        for name in ("start_date", "end_date"):
            date = settings.get(name)
            if isinstance(date, str) and utc(date) is None:
                yield f"{level}{name}: must be a date or time, such as 2026-01-31T00:00:00Z"
        if settings.get("start_date") and settings.get("start_from") == "latest":
            yield f"{level}start_from: latest and start_date are mutually exclusive"
        if settings.get("end_date") and config.get("tail") is True:
            yield f"{level}end_date: cannot be combined with tail, which has no end"
        start = parse_time(utc(start_settings(config, settings).get("start_date")))
        end = parse_time(utc(settings.get("end_date") or config.get("end_date")))
        if settings.keys() & {"start_date", "end_date"} and start and end and start >= end:
            yield f"{level}end_date: must be after start_date"


def _mode_problems(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("tail") is True and config.get("timeout_secs") == 0:
        yield "timeout_secs: must be at least 1 in tail mode, or idle topics would use up the quota"
    if config.get("flattening_enabled") and config.get("flattening_max_depth") == 0:
        yield "flattening_max_depth: must be at least 1; or unset flattening_enabled"


def utc(date: object) -> str | None:
    """Complete a date, or a time without offset, to RFC 3339 in UTC; None if it is neither.

    Meltano passes on times without their offset, and relative dates as such times in UTC.
    """
    texts = (f"{date}{rest}" for rest in ("", "Z", "T00:00:00Z"))
    return next((text.replace(" ", "T") for text in texts if parse_time(text)), None)


def declared_schema(topic: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the JSON Schema in an item of the setting `topics`, or in the file that it names.

    Its references are resolved, because it becomes part of another schema.
    """
    schema, where = topic.get("schema"), "schema"
    if schema and isinstance(schema, str):
        where = f"schema: {schema}"
        try:
            schema = json.loads(Path(schema).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            schema = None
        if not isinstance(schema, dict):
            raise SettingError(f"{where} is not a file that contains a JSON Schema")
    if not schema or not isinstance(schema, dict):
        return None
    try:
        th.DEFAULT_JSONSCHEMA_VALIDATOR.check_schema(schema)
        return resolve_schema_references(deepcopy(schema))
    except SchemaError as exc:
        reason = exc.message
    except Unresolvable as exc:
        reason = f"{exc.ref} does not exist"
    except RecursionError:
        reason = "a $ref refers to itself, which the SDK does not support"
    except TypeError:
        reason = "the SDK does not support true or false as a schema; write {}"
    raise SettingError(f"{where} is not a JSON Schema: {reason}")


def start_settings(config: Mapping[str, Any], topic: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings that say where to start: those of the topic, or else of the run."""
    return topic if topic.get("start_from") or topic.get("start_date") else config


@dataclass(frozen=True)
class _Settings:
    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Pick the settings from a checked config."""
        return cls(**{field.name: config.get(field.name) for field in fields(cls)})


@dataclass(frozen=True)
class ReadSettings(_Settings):
    """The settings for consuming a topic."""

    batch_size: int
    timeout_secs: int | None  # None if it depends on the mode.
    on_expired_bookmark: str

    def poll_secs(self, *, tail: bool) -> int:
        """The time in seconds that a request may wait for messages."""
        if self.timeout_secs is not None:
            return self.timeout_secs
        return TAIL_TIMEOUT_SECS if tail else 0


@dataclass(frozen=True)
class RunSettings(_Settings):
    """The settings of a run."""

    tail: bool
    max_messages: int | None
    max_run_secs: float | None
    max_retry_secs: float
    max_parallel_topics: int
