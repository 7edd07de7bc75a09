"""The executable; also `python -m tap_workato_streams`."""

from __future__ import annotations

from .plugin.start import start


def main() -> None:
    """Run the tap."""
    start("tap-workato-streams")
    from .tap import TapWorkatoStreams  # noqa: PLC0415 - signals are handled while it is imported

    TapWorkatoStreams.cli()


if __name__ == "__main__":
    main()
