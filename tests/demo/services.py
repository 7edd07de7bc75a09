"""The two services that the project's `dev` environment needs, on this machine alone.

`make services` (`python -m tests.demo.services`) runs them until it is interrupted.
"""

from __future__ import annotations

import shlex
import signal
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.demo.forwarder import forwarded
from tests.demo.interrupts import end_orderly
from tests.demo.warehouse import warehouse
from tests.emulator.control import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.demo.warehouse import Warehouse

ROOT = Path(__file__).parents[2]
TOPIC_ID = 11


@dataclass(frozen=True)
class Services:
    """The emulator with an empty topic, an empty PostgreSQL, a folder for Meltano's own files."""

    emulator: Emulator
    warehouse: Warehouse
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which `meltano` finds them."""
        return {
            "EVENT_STREAMS_URL": self.emulator.url,
            "WAREHOUSE_URL": self.warehouse.url,
            # Meltano's state goes when the topic and the tables go that it is about.
            "MELTANO_SYS_DIR_ROOT": str(self.folder / "meltano"),
        }


@contextmanager
def services() -> Iterator[Services]:
    """Start both, and leave nothing of them at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="event-streams-")))
        emulator = stack.enter_context(Emulator.start())
        emulator.create_topic("orders", id=TOPIC_ID)
        database = stack.enter_context(warehouse(folder / "warehouse"))
        yield Services(emulator, database, folder)


def main() -> None:
    """Run both until a signal comes, and say how to use them."""
    end_orderly()
    with (
        services() as running,
        forwarded(running.warehouse.socket / ".s.PGSQL.5432") as port,
    ):
        emulator, database = running.emulator, running.warehouse
        # Meltano keeps its state where it always does: these are services, not a project.
        variables = {"EVENT_STREAMS_URL": emulator.url, "WAREHOUSE_URL": database.url}
        print("Event Streams and PostgreSQL are running until Ctrl-C.\n")
        print(f"api_url              {emulator.url}")
        print(f"api_token            {emulator.token}")
        print(f"developer_api_url    {emulator.url}")
        print(f"developer_api_token  {emulator.developer_token}")
        print(f"topic                {TOPIC_ID}")
        print(f"PostgreSQL           postgresql://postgres:x@127.0.0.1:{port}/postgres\n")
        print("For `meltano` and `psql` in another terminal, in this folder:\n")
        for name, value in (variables | database.variables).items():
            print(f"export {name}={shlex.quote(value)}")
        folders = f"{ROOT / '.venv' / 'bin'}:{database.programs}"
        print(f"export PATH={shlex.quote(folders)}:$PATH\n")
        print("The topic is new each time, and Meltano's state is not: run the first pipeline with")
        print("--full-refresh, or delete its state.", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
