"""An emulator of Workato Event Streams: an HTTP server for tests, with a client that controls it.

Start it with `workato-streams-emulator --port 8085`, from Python with `Emulator.start()`, or in
pytest with the fixture `emulator`.
"""

from __future__ import annotations

from workato_streams_emulator.client import Emulator
from workato_streams_emulator.exchange import LoggedRequest
from workato_streams_emulator.store import StoredMessage

__all__ = ["Emulator", "LoggedRequest", "StoredMessage"]
