"""Detecting a service that returns the same pages again and again."""

from __future__ import annotations


class Repetition:
    """Detects a page that comes again, without remembering all pages (Brent's algorithm).

    It remembers one page, and the next one after twice as many pages.
    """

    def __init__(self) -> None:
        self._remembered: str | None = None
        self._pages = 0
        self._remember_for = 1

    def sees(self, message_id: str) -> bool:
        """Take the last message of a page; return whether it is the remembered one."""
        if message_id == self._remembered:
            return True
        self._pages += 1
        if self._pages == self._remember_for:
            self._remembered = message_id
            self._pages = 0
            self._remember_for *= 2
        return False
