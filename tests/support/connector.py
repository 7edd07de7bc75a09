"""A fixture for each connector, which can be run against any service."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import Self

from tests.support.executables import Outcome, command, run, write_json
from tests.support.running import Running
from tests.support.singer_lines import lines, record, schema, state

TOKEN = "top-secret-token"
PAYLOAD = "private-payload"
STREAM = lines(schema(keys=(), id={}), record(id=PAYLOAD), state(1))


@dataclass(frozen=True)
class Connector:
    """One of the two connectors; `body` is that of a valid response, and `input` its stdin."""

    name: str
    folder: Path
    topics: Any
    body: bytes
    input: bytes = b""

    def command(self, url: str, **settings: Any) -> list[str]:  # noqa: ANN401 - settings are JSON
        """The command line for a service."""
        config = {"api_url": url, "api_token": TOKEN, "topics": self.topics, **settings}
        return command(self.name, "--config", write_json(self.folder / "config.json", config))

    def run(self, url: str, env: dict[str, str] | None = None, **settings: Any) -> Outcome:  # noqa: ANN401
        """Run the connector against a service until it exits."""
        _, *arguments = self.command(url, **settings)
        return run(self.name, *arguments, stdin=self.input, env=env)

    def start(self, url: str, env: dict[str, str] | None = None, **settings: Any) -> Running:  # noqa: ANN401
        """Start the connector against a service."""
        _, *arguments = self.command(url, **settings)
        path = self.folder / "input.singer"
        path.write_bytes(self.input)
        with path.open("rb") as stdin:
            return Running(self.name, *arguments, stdin=stdin.fileno(), env=env)

    def with_topics(self, count: int) -> Self:
        """Return the connector with several topics, whose requests are in flight concurrently."""
        names = {f"orders{number}": number for number in range(1, count + 1)}
        streams = (self.input.replace(b"orders", name.encode()) for name in names)
        topics = [{"id": number, "name": name} for name, number in names.items()]
        return replace(self, topics=names if self.input else topics, input=b"".join(streams))


@pytest.fixture(params=["tap", "target"])
def connector(request: pytest.FixtureRequest, tmp_path: Path) -> Connector:
    """Each of the two connectors."""
    if request.param == "tap":
        return Connector(
            "tap-workato-streams", tmp_path, [{"id": 1, "name": "orders"}], b'{"messages":[]}'
        )
    return Connector(
        "target-workato-streams",
        tmp_path,
        {"orders": 1},
        b'{"is_partial_error":false,"message_ids":{"0":{"message_id":"A","result":"success"}}}',
        STREAM,
    )
