"""The executable; also `python -m tap_workato_streams`."""

from __future__ import annotations

import gc

from .plugin.start import prepare


def main() -> None:
    """Run the tap."""
    prepare("tap-workato-streams")
    from .tap import TapWorkatoStreams  # noqa: PLC0415 - SIGINT may arrive during the import

    # Imported objects are never freed, so the collector need not search them, not even at the exit.
    gc.freeze()
    TapWorkatoStreams.cli()


if __name__ == "__main__":
    main()
