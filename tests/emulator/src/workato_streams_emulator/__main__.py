"""The command `workato-streams-emulator`."""

from __future__ import annotations

import argparse

from workato_streams_emulator.server import serve


def main() -> None:
    """Parse the command line and serve requests."""
    parser = argparse.ArgumentParser(
        prog="workato-streams-emulator",
        description="Emulate Workato Event Streams, and print the URL as a line of JSON.",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="the port to listen on; 0, the default, takes a free one",
    )
    parser.add_argument(
        "--database",
        default=":memory:",
        help="a SQLite file that keeps topics and messages; default: in memory",
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="exit when the parent process exits"
    )
    options = parser.parse_args()
    serve(
        port=options.port,
        database=options.database,
        until_stdin_closes=options.until_stdin_closes,
    )


if __name__ == "__main__":
    main()
