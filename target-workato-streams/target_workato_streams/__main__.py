"""The executable; also `python -m target_workato_streams`."""

from __future__ import annotations

from .plugin.start import starting


def main() -> None:
    """Run the target."""
    with starting("target-workato-streams"):
        from .target import TargetWorkatoStreams  # noqa: PLC0415 - see `starting`

    TargetWorkatoStreams.cli()


if __name__ == "__main__":
    main()
