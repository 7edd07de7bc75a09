"""A progress bar on stderr, if it is a terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack


def is_shown() -> bool:
    """Return whether stderr is a terminal."""
    return bool(sys.stderr) and sys.stderr.isatty()


class ProgressBar:
    """A progress bar above which log lines scroll.

    Args:
        description: The text before the bar.
        unit: The unit of the count; None for a share from 0 to 1.
    """

    def __init__(self, description: str, unit: str | None = None) -> None:
        # Only needed on a terminal.
        from tqdm import tqdm  # noqa: PLC0415
        from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

        self._context = ExitStack()
        self._context.enter_context(logging_redirect_tqdm())
        share = "{desc}: {percentage:3.0f}%|{bar}|{postfix} [{elapsed}<{remaining}]"
        count = "{desc}: {n} {unit} [{elapsed}, {rate_fmt}]{postfix}"
        self._bar = self._context.enter_context(
            tqdm(
                desc=description,
                total=None if unit else 1.0,
                unit=unit or "",
                bar_format=count if unit else share,
                file=sys.stderr,
                dynamic_ncols=True,
                mininterval=0,
                leave=False,
            )
        )

    def show(self, done: float, text: str = "") -> None:
        """Update the count or share, and the text after it."""
        self._bar.n = done
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._context.close()
