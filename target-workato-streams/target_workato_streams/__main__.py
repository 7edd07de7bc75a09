"""The executable; also `python -m target_workato_streams`."""

from __future__ import annotations

from .plugin.start import prepare


def main() -> None:
    """Run the target."""
    prepare("target-workato-streams")
    from .stdin_reader import discard_input  # noqa: PLC0415 - SIGINT may arrive during the import
    from .target import TargetWorkatoStreams  # noqa: PLC0415 - likewise

    try:
        TargetWorkatoStreams.cli()
    except SystemExit as exc:
        if exc.code == 1 and not TargetWorkatoStreams.stopped:
            discard_input()
        raise


if __name__ == "__main__":
    main()
