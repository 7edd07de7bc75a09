"""The config files of the connectors and of the contenders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workato_streams_emulator import Emulator

from tests.support.executables import write_json


def tap_config(
    folder: Path, emulator: Emulator, topics: dict[str, int], **settings: object
) -> Path:
    """Write the tap's config; `topics` maps stream names to topic ids."""
    listed = [{"id": topic_id, "name": name} for name, topic_id in topics.items()]
    return write_json(folder / "tap.json", {**_access(emulator), "topics": listed, **settings})


def target_config(folder: Path, emulator: Emulator, topic_id: int, **settings: object) -> Path:
    """Write the target's config; all streams go to one topic."""
    config = {**_access(emulator), "topics": {"*": topic_id}, **settings}
    return write_json(folder / "target.json", config)


def contender_config(folder: Path, emulator: Emulator, topic_id: int) -> Path:
    """Write the config of a contender: the URL, the token and the topic."""
    return write_json(folder / "contender.json", {**_access(emulator), "topic_id": topic_id})


def _access(emulator: Emulator) -> dict[str, Any]:
    return {"api_url": emulator.url, "api_token": emulator.token}
