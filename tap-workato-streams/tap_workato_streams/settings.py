"""The tap's own settings, checks beyond their types, and a dataclass for each concern."""

from __future__ import annotations

import json
from collections import Counter
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
from .records.columns import NESTED, RECORD_FORMATS
from .records.evolution import MODES

# Less than the timeout of common gateways, such as the 50 s of haproxy.
TAIL_TIMEOUT_SECS = 45

_START_FROM = th.StringType(allowed_values=["earliest", "latest"])

_TOPIC = th.ObjectType(
    th.Property("id", th.IntegerType, required=True, description="Topic id"),
    th.Property(
        "name", th.StringType(min_length=1), description="Stream name (default: `topic_<id>`)"
    ),
    th.Property("start_date", th.DateTimeType, description="Overrides `start_date`"),
    th.Property("end_date", th.DateTimeType, description="Overrides `end_date`"),
    th.Property("start_from", _START_FROM, description="Overrides `start_from`"),
    th.Property("schema", th.ObjectType(), description="JSON Schema of the payload"),
    th.Property(
        "schema_path",
        th.StringType,
        description="Path of a file with the JSON Schema of the payload",
    ),
    additional_properties=False,
)

SETTINGS = settings_schema(
    th.Property(
        "topics",
        th.ArrayType(_TOPIC),
        description="Topics to read. If not set, all topics of the workspace are read, which "
        "requires `developer_api_token`.",
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
        description="RFC 3339 time, in quotes in YAML, from which to read a topic that has no "
        "bookmark; cannot be combined with `start_from: latest`",
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        description="RFC 3339 time, in quotes in YAML, up to which messages are read. A later run "
        "without it continues from there. Cannot be combined with `tail`.",
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
        th.NumberType(exclusive_minimum=0),
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
        "infer_schema",
        th.BooleanType,
        default=False,
        description="Infer the schema of payloads from a sample if it is not known; always done "
        "if records are unpacked or flattened",
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
    th.Property(
        "state_interval_secs",
        th.NumberType(exclusive_minimum=0),
        default=5,
        description="Maximum time in seconds between a state change and the STATE message that "
        "reports it",
    ),
)


def tap_problems(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that contradicts another one or the file system.

    The settings include defaults, and may have wrong types.
    """
    return [*_source_problems(config), *_start_problems(config), *_mode_problems(config)]


def _source_problems(config: Mapping[str, Any]) -> Iterator[str]:
    topics = _topics(config)
    if not config.get("topics") and not config.get("developer_api_token"):
        yield "topics: list the topics to read, or set developer_api_token to read all of them"
    names = Counter(str(item.get("name") or f"topic_{item.get('id')}") for item in topics)
    for name, count in names.items():
        if count > 1:
            yield f"topics: {count} topics are named {name}; give each a different name"
    for number, item in enumerate(topics):
        if item.get("schema_path") and item.get("schema"):
            yield f"topics[{number}]: set schema or schema_path, not both"
            continue
        try:
            declared_schema(item)
        except SettingError as exc:
            yield f"topics[{number}].{exc}"


def _start_problems(config: Mapping[str, Any]) -> Iterator[str]:
    topics = [(f"topics[{number}].", item) for number, item in enumerate(_topics(config))]
    for level, settings in [("", config), *topics]:
        for name in ("start_date", "end_date"):
            date = settings.get(name)
            if isinstance(date, str) and parse_time(date) is None:
                # Meltano reads a time without quotes as a date-time, and passes it on without Z.
                yield f"{level}{name}: must be RFC 3339 in quotes, such as '2026-01-31T00:00:00Z'"
        if settings.get("start_date") and settings.get("start_from") == "latest":
            yield f"{level}start_from: latest and start_date are mutually exclusive"
        if settings.get("end_date") and config.get("tail") is True:
            yield f"{level}end_date: cannot be combined with tail, which has no end"
        start = parse_time(start_settings(config, settings).get("start_date"))
        end = parse_time(settings.get("end_date") or config.get("end_date"))
        if settings.keys() & {"start_date", "end_date"} and start and end and start >= end:
            yield f"{level}end_date: must be after start_date"


def _mode_problems(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("batch_config"):  # A setting that the SDK's taps have.
        yield "batch_config: remove it; batch files could not be written faster than records"
    if config.get("tail") is True and config.get("timeout_secs") == 0:
        yield "timeout_secs: must be at least 1 in tail mode, or idle topics would use up the quota"
    if config.get("flattening_enabled") and config.get("flattening_max_depth") == 0:
        yield "flattening_max_depth: must be at least 1; or unset flattening_enabled"


def _topics(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    topics = config.get("topics")
    return [t for t in topics if isinstance(t, dict)] if isinstance(topics, list) else []


def declared_schema(topic: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the JSON Schema in an item of the setting `topics`, or in its file `schema_path`.

    Its references are resolved, because it becomes part of another schema.
    """
    schema, where = topic.get("schema"), "schema"
    if path := topic.get("schema_path"):
        where = f"schema_path: {path}"
        try:
            schema = json.loads(Path(str(path)).read_text(encoding="utf-8"))
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
    state_interval_secs: float
