"""The command: `python -m tests.emulator --port 0`, from the repository's root."""

from __future__ import annotations

import argparse

from tests.emulator.server import serve


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 (the default): a free one")
    parser.add_argument("--database", default=":memory:", help="a SQLite file that outlives a run")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end when the parent process does"
    )
    options = parser.parse_args()
    serve(
        port=options.port,
        database=options.database,
        until_stdin_closes=options.until_stdin_closes,
    )


if __name__ == "__main__":
    main()
