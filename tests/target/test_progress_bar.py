"""On a terminal, the target shows a progress bar in place of its line per minute."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.executables import command, write_json
from tests.terminal import on_a_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from workato_streams_emulator import Emulator


def test_a_terminal_shows_a_progress_bar(emulator: Emulator, tmp_path: Path) -> None:
    """The bar shows the number of published messages, and log lines scroll above it."""
    topic = emulator.create_topic()
    emulator.configure(latency_secs=0.2)
    settings = {
        "api_url": emulator.url,
        "api_token": emulator.token,
        "default_topic_id": topic,
        "batch_size_rows": 1,
    }
    config = write_json(tmp_path / "config.json", settings)
    schema = {"type": "SCHEMA", "stream": "s", "schema": {"properties": {}}, "key_properties": []}
    record = {"type": "RECORD", "stream": "s", "record": {"n": 1}}
    lines = [json.dumps(schema), *[json.dumps(record)] * 10]
    began = time.monotonic()
    shown = on_a_terminal(
        *command("target-workato-streams", "--config", config), stdin="\n".join(lines).encode()
    )
    assert time.monotonic() - began > 2
    assert "publishing: " in shown
    assert " messages [" in shown
    assert "10 published" in shown
