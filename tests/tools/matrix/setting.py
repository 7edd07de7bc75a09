"""The environment of the cases: the emulator, PostgreSQL, a folder, and the two connectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workato_streams_emulator import Emulator

from tests.support.executables import command, write_json
from tests.tools.demo.warehouse import Warehouse
from tests.tools.matrix.plugins import Plugin, run
from tests.tools.matrix.values import Rows, by_key, decode

CONNECTORS = ("tap-workato-streams", "target-workato-streams")
# The settings of each record format.
FORMATS: dict[str, dict[str, Any]] = {
    "nested": {},
    "unpacked": {"record_format": "unpacked"},
}


@dataclass(frozen=True)
class Setting:
    """The services, and the parent folder of all cases.

    Attributes:
        emulator: The API of Event Streams.
        warehouse: PostgreSQL.
        folder: The parent folder.
        running: Stops the other servers at its end.
    """

    emulator: Emulator
    warehouse: Warehouse
    folder: Path
    running: ExitStack
    _addresses: dict[str, str] = field(default_factory=dict)

    def address(self, service: Callable[[Path], AbstractContextManager[str]]) -> str:
        """Return the address of a server, which is started at its first use."""
        name = service.__name__
        if name not in self._addresses:
            folder = self.folder / f"server-{name}"
            folder.mkdir()
            self._addresses[name] = self.running.enter_context(service(folder))
        return self._addresses[name]

    def case(self, name: str) -> Case:
        """Create a topic and a folder for a case."""
        folder = self.folder / name
        folder.mkdir()
        return Case(self, folder, self.emulator.create_topic(name))


@dataclass(frozen=True)
class Case:
    """A pipeline that is run stage by stage; each stage writes a file for the next one."""

    setting: Setting
    folder: Path
    topic_id: int

    def inner(self, name: str) -> Case:
        """Return a case with the same topic, but its own folder."""
        folder = self.folder / name
        folder.mkdir()
        return replace(self, folder=folder)

    def extract(self, plugin: Plugin, config: dict[str, Any], *options: str | Path) -> Path:
        """Run a tap, and return the file with its messages."""
        return self._stage(
            [
                *plugin.command,
                "--config",
                write_json(self.folder / "source.json", config),
                *options,
            ],
            None,
            "source.singer",
        )

    def catalog(self, plugin: Plugin, config: dict[str, Any], stream: str | None = None) -> Path:
        """Discover the streams of a tap, and return a catalog that selects one, or all of them."""
        path = self.folder / "catalog.json"
        settings = write_json(self.folder / "discover.json", config)
        run([*plugin.command, "--config", settings, "--discover"], stdout=path)
        catalog = json.loads(path.read_bytes())
        for each in catalog["streams"]:
            for entry in each["metadata"]:
                entry["metadata"]["selected"] = stream in {None, each["stream"]}
                if not entry["breadcrumb"]:
                    entry["metadata"]["replication-method"] = "FULL_TABLE"
        return write_json(path, catalog)

    def map(self, plugin: Plugin, config: dict[str, Any], messages: Path) -> Path:
        """Run a mapper, and return the file with its messages."""
        path = write_json(self.folder / "mapper.json", config)
        return self._stage([plugin.path, "--config", path], messages, "mapped.singer")

    def publish(self, messages: Path) -> Rows:
        """Run target-workato-streams; return the topic's payloads by their key as text."""
        config = write_json(
            self.folder / "target.json", {**self._access(), "topics": {"*": self.topic_id}}
        )
        self._stage(command(CONNECTORS[1], "--config", config), messages, "states.jsonl")
        return self.payloads(_key_of(messages))

    def payloads(self, key: str) -> Rows:
        """Return the topic's payloads by their key as text."""
        messages = self.setting.emulator.messages(self.topic_id)
        return by_key((decode(message.payload) for message in messages), key)

    def consume(self, **settings: Any) -> Path:  # noqa: ANN401 - any setting of the tap
        """Run tap-workato-streams, and return the file with its messages."""
        topics = [{"id": self.topic_id, "name": "orders"}]
        config = {**self._access(), "topics": topics, **settings}
        path = write_json(self.folder / "tap.json", config)
        return self._stage(command(CONNECTORS[0], "--config", path), None, "topic.singer")

    def load(self, plugin: Plugin, config: dict[str, Any], messages: Path) -> None:
        """Run a target."""
        path = write_json(self.folder / "loader.json", config)
        self._stage([*plugin.command, "--config", path], messages, "loaded.jsonl")

    def _stage(self, line: list[Any], stdin: Path | None, output: str) -> Path:
        path = self.folder / output
        run(line, stdin=stdin, stdout=path)
        return path

    def _access(self) -> dict[str, str]:
        return {"api_url": self.setting.emulator.url, "api_token": self.setting.emulator.token}


def messages_of(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read all messages of one type from a file with Singer messages."""
    with path.open("rb") as lines:
        return [message for message in map(decode, lines) if message["type"] == kind]


def records_of(path: Path, key: str | None = None) -> Rows:
    """Read the records from a file with Singer messages, by a property, or by their key as text."""
    records = [message["record"] for message in messages_of(path, "RECORD")]
    return by_key(records, key or _key_of(path))


def _key_of(path: Path) -> str:
    [key] = messages_of(path, "SCHEMA")[-1]["key_properties"]
    return str(key)
