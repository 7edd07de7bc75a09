"""Detects a service that returns the same pages repeatedly."""

from __future__ import annotations

from .errors import EventStreamsError


class Repetition:
    """Detects a repeated page without remembering all pages (Brent's algorithm).

    It remembers one page at a time, and replaces it after twice as many pages as before.
    """

    def __init__(self) -> None:
        self._remembered: str | None = None
        self._pages = 0
        self._remember_for = 1

    def check(self, subject: str, after: str | None, last: str) -> None:
        """Check that a page makes progress.

        Args:
            subject: What the error begins with, such as ``orders (topic 11)``.
            after: The message id that was the cursor, if one was.
            last: The id of the page's last message.

        Raises:
            EventStreamsError: The message was read before.
        """
        if last == after or self.sees(last):
            raise EventStreamsError(
                f"{subject}: the service returned message {last} again after it was read; "
                "run again, and report this to the service's support if it persists"
            )

    def sees(self, message_id: str) -> bool:
        """Return whether the last message of a page is the remembered one."""
        if message_id == self._remembered:
            return True
        self._pages += 1
        if self._pages == self._remember_for:
            self._remembered = message_id
            self._pages = 0
            self._remember_for *= 2
        return False
