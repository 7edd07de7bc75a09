"""The executable; also `python -m target_workato_streams`."""

from __future__ import annotations

from .plugin.start import start


def main() -> None:
    """Run the target."""
    start("target-workato-streams")
    from .target import TargetWorkatoStreams  # noqa: PLC0415 - signals are handled while it is imported

    TargetWorkatoStreams.cli()


if __name__ == "__main__":
    main()
