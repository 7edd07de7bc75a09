"""Checks of the target's settings beyond their types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def target_problems(config: Mapping[str, Any]) -> list[str]:
    """Find settings that contradict each other or the file system.

    Args:
        config: The settings, with defaults; values may have a wrong type.

    Returns:
        One line for each problem.
    """
    found = []
    if not (config.get("topics") or config.get("default_topic_id") or config.get("create_topics")):
        found.append("topics: no stream has a topic; set topics, default_topic_id or create_topics")
    if config.get("create_topics") is True and not config.get("developer_api_token"):
        found.append("create_topics: requires developer_api_token")
    if config.get("exactly_once") is True:
        found += _exactly_once_problems(config)
    path = config.get("dead_letter_path")
    if config.get("on_rejected") == "dead_letter" and not path:
        found.append("on_rejected: dead_letter requires dead_letter_path")
    if isinstance(path, str) and not Path(path).absolute().parent.is_dir():
        found.append("dead_letter_path: its folder does not exist")
    elif isinstance(path, str) and Path(path).exists() and not Path(path).is_file():
        kind = "a folder" if Path(path).is_dir() else "a device, pipe or socket"
        found.append(f"dead_letter_path: is {kind}; it must be a regular file, or not exist yet")
    if config.get("legacy_api") is True and config.get("data_center") == "trial":
        found.append("legacy_api: the trial data center has no legacy domain")
    if config.get("load_method") not in {None, "append-only"}:
        found.append("load_method: records can only be appended to a topic; use append-only")
    return found


def _exactly_once_problems(config: Mapping[str, Any]) -> list[str]:
    found = []
    if not config.get("message_key_field"):
        found.append("exactly_once: requires message_key_field")
    if config.get("max_in_flight") != 1:
        found.append("exactly_once: requires max_in_flight to be 1")
    return found
