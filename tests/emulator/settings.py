"""What a test may change of the service's behaviour, with its defaults."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of `Emulator.configure`.

    Attributes:
        latency_secs: How long each request of the service (not of the control plane) takes more.
        quota_per_minute: Requests that the public API admits in a sliding window; None: no limit.
        developer_quota_per_minute: The same for the Developer API.
        quota_window_secs: The length of that window, so that a test need not wait for a minute.
        retry_after: How a 429 says when to retry.
        rejection: What a batch gets that holds a message that does not fit the topic's schema.
        rejection_status: The status where `rejection` is "status".
        expired_status: The status for an `after_message_id` that does not exist (any more).
        page_limit: Pages are no longer than this, even where more is requested and available.
        clock_offset_secs: Shifts the service's clock: `Date`, message times, `since_time`.
        date_header: Whether responses carry a `Date` header.
        date_offset_secs: Shifts the `Date` header alone.
        reject_cursors: Whether each `after_message_id` is rejected as if it had expired.
        schema_checks: Whether published messages must fit the topic's schema.
    """

    latency_secs: float = 0.0
    quota_per_minute: int | None = None
    developer_quota_per_minute: int | None = 60
    quota_window_secs: float = 60.0
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    rejection: Literal["partial", "status"] = "partial"
    rejection_status: int = 400
    expired_status: int = 400
    page_limit: int | None = None
    clock_offset_secs: float = 0.0
    date_header: bool = True
    date_offset_secs: float = 0.0
    reject_cursors: bool = False
    schema_checks: bool = True

    def changed(self, changes: dict[str, Any]) -> Settings:
        """These settings with `changes`.

        Raises:
            msgspec.ValidationError: A change names no setting, or has the wrong type.
        """
        return msgspec.convert({**msgspec.structs.asdict(self), **changes}, Settings)
