"""The executable; also `python -m tap_workato_streams`."""

from __future__ import annotations

from .plugin.start import prepare


def main() -> None:
    """Run the tap."""
    prepare("tap-workato-streams")
    from .tap import TapWorkatoStreams  # noqa: PLC0415 - SIGINT may arrive during the import

    TapWorkatoStreams.cli()


if __name__ == "__main__":
    main()
