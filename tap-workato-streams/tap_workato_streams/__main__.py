"""The executable; also `python -m tap_workato_streams`."""

from __future__ import annotations

from .plugin.start import starting


def main() -> None:
    """Run the tap."""
    with starting("tap-workato-streams"):
        from .tap import TapWorkatoStreams  # noqa: PLC0415 - see `starting`

    TapWorkatoStreams.cli()


if __name__ == "__main__":
    main()
