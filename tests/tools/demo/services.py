"""The two services that the project in this repository needs, on this machine.

`make services` (`python -m tests.tools.demo.services`) runs them until it is interrupted, with the
same ports each time. Two arguments are the ports of the emulator and of PostgreSQL; 0 is any.
"""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.tools.demo import orders
from tests.tools.demo.forwarder import available
from tests.tools.demo.interrupts import exit_on_signals
from tests.tools.demo.warehouse import Warehouse, warehouse

ROOT = Path(__file__).parents[3]
TOPIC_ID = 11
# Empty, for pipelines that publish.
EMPTY_TOPIC_ID = 12
# The default port of `make emulator`, and one that few programs use.
PORTS = (8085, 15432)


@dataclass(frozen=True)
class Services:
    """The emulator with an empty topic, an empty PostgreSQL, and a folder for Meltano's files."""

    emulator: Emulator
    warehouse: Warehouse
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The variables with which `meltano` and `psql` use the services.

        The project in this repository and one that follows the README need no other settings.
        """
        return {
            "EVENT_STREAMS_URL": self.emulator.url,
            "WAREHOUSE_URL": self.warehouse.url,
            "WORKATO_API_TOKEN": self.emulator.token,
            "TAP_WORKATO_STREAMS_API_URL": self.emulator.url,
            "TARGET_WORKATO_STREAMS_API_URL": self.emulator.url,
            # Removed together with the topics, whose messages it remembers.
            "TARGET_WORKATO_STREAMS_PUBLISHED_ROWS_URL": f"file://{self.folder}/published-rows.db",
            **self.warehouse.variables,
        }

    @property
    def temporary_state(self) -> dict[str, str]:
        """Variables for a project whose state is removed together with the topic and the tables."""
        return {"MELTANO_SYS_DIR_ROOT": str(self.folder / "meltano")}


@contextmanager
def services(ports: tuple[int, int] = (0, 0)) -> Iterator[Services]:
    """Start both services, on any ports by default; stop them and remove their data at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="event-streams-")))
        emulator = stack.enter_context(Emulator.start(port=ports[0]))
        emulator.create_topic("orders", id=TOPIC_ID)
        database = stack.enter_context(warehouse(folder / "warehouse", port=ports[1]))
        yield Services(emulator, database, folder)


def prepare(emulator: Emulator) -> None:
    """Store the orders in the topic that is loaded, and create an empty one for publishing."""
    emulator.load(TOPIC_ID, orders.FILE.read_bytes().splitlines())
    emulator.create_topic("published", id=EMPTY_TOPIC_ID)


def main() -> None:
    """Run both services until a signal arrives, and print how to use them."""
    exit_on_signals()
    emulator_port, warehouse_port = map(int, sys.argv[1:] or map(available, PORTS))
    with services((emulator_port, warehouse_port)) as running:
        emulator, database = running.emulator, running.warehouse
        prepare(emulator)
        print("Event Streams and PostgreSQL are running; stop them with Ctrl-C.\n")
        print(f"api_url              {emulator.url}")
        print(f"api_token            {emulator.token}")
        print(f"developer_api_url    {emulator.url}")
        print(f"developer_api_token  {emulator.developer_token}")
        print(f"topics               {TOPIC_ID} ({orders.ROWS} orders), {EMPTY_TOPIC_ID} (empty)")
        print(f"PostgreSQL           {database.uri}\n")
        print("To use `meltano` and `psql` in another terminal, in this or your own project:\n")
        for name, value in running.variables.items():
            print(f"export {name}={shlex.quote(value)}")
        folders = f"{ROOT / '.venv' / 'bin'}:{database.programs}"
        print(f"export PATH={shlex.quote(folders)}:$PATH\n")
        print("When you stop them, topics and database are deleted, but no state of a project.")
        print(f"The ports are {PORTS[0]} and {PORTS[1]}, or others if these are taken.", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
