"""The errors of the service and of the settings.

The message of an exception is the line that users see, with the topic, the status, the cause and
the remedy. It never contains a token or a payload.
"""

from __future__ import annotations


class EventStreamsError(Exception):
    """Base class of all errors of this connector; the message is one line for the user."""


class SettingError(EventStreamsError):
    """A setting is wrong in a way that only the run can show."""


class Stopped(EventStreamsError):
    """The run is being stopped; no more requests are sent."""


class QuotaStoreError(EventStreamsError):
    """The store of a shared quota cannot be used."""


class ServiceError(EventStreamsError):
    """The service responded with an error, or did not respond."""

    def __init__(
        self,
        line: str,
        *,
        status: int | None = None,  # None if there was no response
        reason: str = "",  # given by the service; on one line, without secrets
        retry_after: float | None = None,  # the seconds that the service asked to wait
        sent: bool = True,  # whether the service may have received the request
    ) -> None:
        super().__init__(line)
        self.sent = sent
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class RequestRejected(ServiceError):
    """The request is not retried: a redirect, or a 4xx other than those of ``Unavailable``."""


class Unavailable(ServiceError):
    """The request is retried: 408, 425, 429, 5xx, or no response."""


class Unexpected(Unavailable):
    """The status is 2xx, but the body is not a response of the API, such as a login page."""


class GaveUp(Unavailable):
    """Retries took longer than ``max_retry_secs``, or were too many."""
