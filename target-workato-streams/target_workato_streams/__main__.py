"""The executable; also `python -m target_workato_streams`."""

from __future__ import annotations

import gc

from .plugin.start import prepare


def main() -> None:
    """Run the target."""
    prepare("target-workato-streams")
    from .stdin_reader import discard_input  # noqa: PLC0415 - SIGINT may arrive during the import
    from .target import TargetWorkatoStreams  # noqa: PLC0415 - likewise

    # Imported objects are never freed, so the collector need not search them, not even at the exit.
    gc.freeze()

    try:
        TargetWorkatoStreams.cli()
    except SystemExit as exc:
        if exc.code == 1 and not TargetWorkatoStreams.stopped:
            discard_input()
        raise


if __name__ == "__main__":
    main()
