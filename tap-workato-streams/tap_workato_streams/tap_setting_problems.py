"""Checks of the settings that only the tap has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .discovery import schemas
from .event_streams.consume import parse_time
from .event_streams.errors import SettingError
from .records.evolution import ADD_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def tap_problems(config: Mapping[str, Any]) -> list[str]:
    """Find problems other than wrong types, which are reported elsewhere.

    Args:
        config: The settings, with their defaults.

    Returns:
        One line for each problem.
    """
    return [
        *_source_problems(config),
        *_start_problems(config),
        *_mode_problems(config),
        *_batch_problems(config),
    ]


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
            schemas.from_settings(item)
        except SettingError as exc:
            yield f"topics[{number}].{exc}"


def _start_problems(config: Mapping[str, Any]) -> Iterator[str]:
    levels: dict[str, Mapping[str, Any]] = {"": config}
    for number, item in enumerate(_topics(config)):
        levels[f"topics[{number}]."] = item
    for level, settings in levels.items():
        date = settings.get("start_date")
        if isinstance(date, str) and parse_time(date) is None:
            # Meltano reads a time without quotes as a date-time, and passes it on without Z.
            yield f"{level}start_date: must be RFC 3339 in quotes, such as '2026-01-31T00:00:00Z'"
        if date and settings.get("start_from") == "latest":
            yield f"{level}start_from: latest and start_date are mutually exclusive"


def _mode_problems(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("tail") is True and config.get("timeout_secs") == 0:
        yield "timeout_secs: must be at least 1 in tail mode, or idle topics would use up the quota"
    if config.get("flattening_enabled") and config.get("flattening_max_depth") == 0:
        yield "flattening_max_depth: must be at least 1; or unset flattening_enabled"


def _batch_problems(config: Mapping[str, Any]) -> Iterator[str]:
    batch = config.get("batch_config")
    if not isinstance(batch, dict):
        return
    if config.get("tail") is True:
        yield "batch_config: cannot be combined with tail, since a batch file needs an end"
    for name in ("stream_maps", "flattening_enabled"):
        if config.get(name):
            yield f"batch_config: the SDK ignores {name} in batch files; remove one of the two"
    if config.get("schema_evolution") == ADD_COLUMNS:
        yield "schema_evolution: batch files cannot add columns; use rescue with batch_config"
    encoding, storage = batch.get("encoding"), batch.get("storage")
    if not isinstance(encoding, dict) or encoding.get("format") != "jsonl":
        yield "batch_config.encoding.format: must be jsonl"
    if not isinstance(storage, dict) or not storage.get("root"):
        yield "batch_config.storage.root: set the folder for the files, such as file:///tmp"


def _topics(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    topics = config.get("topics")
    return [t for t in topics if isinstance(t, dict)] if isinstance(topics, list) else []
