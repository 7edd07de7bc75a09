"""The settings that tests can change, and their defaults."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of `Emulator.configure`.

    Attributes:
        latency_secs: The delay of each request (not of the control plane).
        quota_per_minute: The public API's quota in a sliding window; None: unlimited.
        developer_quota_per_minute: The Developer API's quota.
        quota_window_secs: The length of the window, so that a test need not wait for a minute.
        retry_after: The format of the `Retry-After` header of a 429.
        rejection: The response to a batch with a message that does not match the topic's schema.
        rejection_status: The status if `rejection` is "status".
        expired_status: The status for an `after_message_id` that does not exist.
        page_limit: The maximum number of messages in a page, whatever `batch_size` is.
        clock_offset_secs: Shifts the service's clock: `Date`, message times, `since_time`.
        date_header: Whether responses have a `Date` header.
        date_offset_secs: Shifts the `Date` header only.
        reject_cursors: Whether each `after_message_id` is rejected as if it had expired.
        schema_checks: Whether messages must match the topic's schema.
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
        """Return these settings with `changes`.

        Raises:
            msgspec.ValidationError: A setting is unknown or has the wrong type.
        """
        return msgspec.convert({**msgspec.structs.asdict(self), **changes}, Settings)
