"""Detects a service that returns the same pages repeatedly."""

from __future__ import annotations


class Repetition:
    """Detects a repeated page without remembering all pages (Brent's algorithm).

    It remembers one page at a time, and replaces it after twice as many pages as before.
    """

    def __init__(self) -> None:
        self._remembered: str | None = None
        self._pages = 0
        self._remember_for = 1

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
