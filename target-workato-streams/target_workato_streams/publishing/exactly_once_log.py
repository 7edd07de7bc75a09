"""The log lines of `exactly_once`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plugin.wording import counted

if TYPE_CHECKING:
    import logging

    from ..exactly_once.positions import Position, ReturnedState
    from .look_up import LookUp


class ExactlyOnceLog:
    """Logs the results of look-ups, and why a run is at least once.

    Args:
        logger: The logger of the plugin.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._at_least_once = False

    def state(self, returned: ReturnedState, *, after_records: bool) -> None:
        """Log a warning if the tap's state lacks positions or bookmarks, or came late."""
        if returned.positions and after_records:
            self._warn_at_least_once("the tap returned its positions after its first record")
        elif returned.positions and not returned.has_bookmarks:
            self._logger.warning(
                "The state has positions of exactly_once but no bookmarks of the tap: the tap "
                "starts over, and records published before these positions are published again"
            )
        elif returned.has_bookmarks and returned.positions is None:
            self._warn_at_least_once(
                "the state has bookmarks of the tap but no positions, as before the first run with "
                "exactly_once"
            )

    def no_state(self) -> None:
        """Log a warning if a record came before the tap's first state."""
        self._warn_at_least_once("the tap has not returned a state before its first record")

    def look_up(self, label: str, position: Position | None, found: LookUp) -> None:
        """Log the result of a look-up."""
        if position is None:
            last = found.position.message_id
            self._logger.info(
                "%s: the state has no position for this topic; starting %s (%s)",
                label,
                f"after its last message, {last}" if last else "with an empty topic",
                counted(found.requests, "request"),
            )
            return
        if found.expired:
            self._logger.warning(
                "%s: position %s has expired or was purged; if the tap repeats records whose "
                "messages have also expired, they are published again",
                label,
                position.message_id,
            )
        rows = len({version.row for version in found.versions})
        self._logger.info(
            "%s: found %s of %s %s, and %s of other producers (%s)",
            label,
            counted(len(found.versions), "version"),
            counted(rows, "row"),
            f"after message {position.message_id}" if position.message_id else "in the topic",
            counted(found.others, "message"),
            counted(found.requests, "request"),
        )

    def _warn_at_least_once(self, reason: str) -> None:
        if not self._at_least_once:
            self._at_least_once = True
            self._logger.warning(
                "This run is at least once, because %s: records that an interrupted run has "
                "published may be published again",
                reason,
            )
