"""The errors of the service and of the settings.

    EventStreamsError
      x SettingError        a setting is wrong in a way that only the run can show
      x Stopped             the run is being stopped
      x QuotaStoreError     the store of a shared quota cannot be used
      + ServiceError        the service responded with an error, or did not respond
        x RequestRejected   not retried: redirects, and 4xx other than those below
        + Unavailable       retried: 408, 425, 429, 5xx, no response
          x Unexpected      retried a few times: 2xx, but not a response of the API
          x GaveUp          retries took longer than ``max_retry_secs``, or were too many

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
    """The service responded with an error, or did not respond.

    Args:
        line: The line for the user.
        status: The HTTP status; None if there was no response.
        reason: The reason that the service gave, on one line, without secrets.
        retry_after: The seconds that the service asked to wait, if it did.
        sent: Whether the service may have received the request.
    """

    def __init__(
        self,
        line: str,
        *,
        status: int | None = None,
        reason: str = "",
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(line)
        self.sent = sent
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class RequestRejected(ServiceError):
    """The request will not succeed, however often it is sent."""


class Unavailable(ServiceError):
    """The request may succeed if it is sent again."""


class Unexpected(Unavailable):
    """The status is 2xx, but the body is not a response of the API, such as a login page."""


class GaveUp(Unavailable):
    """Retries took longer than ``max_retry_secs``, or were too many."""
