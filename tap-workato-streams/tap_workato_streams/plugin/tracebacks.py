"""Keeps payloads, tokens and control characters out of log records."""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import (
    ConfigValidationError,
    DiscoveryError,
    InvalidJSONSchema,
    MappingError,
)

from ..event_streams import CONNECTOR
from ..event_streams.errors import EventStreamsError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The messages of these exceptions contain names of files and settings, and expressions. Those of
# other exceptions, also of the SDK, may quote a record.
SAFE_TEXTS = (
    ConfigValidationError,
    DiscoveryError,
    EventStreamsError,
    InvalidJSONSchema,
    MappingError,
)


def safe_text(exc: BaseException) -> str:
    """Return the message of an exception on one line, or its type if it may quote a record."""
    return " ".join(str(exc).split()) if is_safe(exc) else type(exc).__name__


def is_safe(exc: BaseException) -> bool:
    """Whether the message of an exception is known not to quote records or responses."""
    # Libraries such as requests derive their own exceptions from OSError.
    is_system = isinstance(exc, OSError) and type(exc).__module__ == "builtins"
    return is_system or isinstance(exc, SAFE_TEXTS)


def make_log_safe() -> None:
    """Log each message of this process on one line, and tracebacks without exception messages.

    Names, message ids and reasons from the service may contain line breaks and escape sequences;
    the messages of exceptions, which the SDK and its libraries log, too, may quote payloads.
    """
    make_record = logging.getLogRecordFactory()

    def make_safe_record(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - of logging
        record = make_record(*args, **kwargs)
        # The arguments of a library may not fit its message.
        with contextlib.suppress(TypeError, ValueError):
            record.msg, record.args = _printable(record.getMessage()), ()
        if record.exc_info and record.exc_info[1]:
            record.exc_text = "\n".join(map(_printable, _lines(record.exc_info[1])))
            record.exc_info = None
        return record

    logging.setLogRecordFactory(make_safe_record)
    threading.excepthook = _log_thread_exception


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "a thread"
    exc = args.exc_value
    shown = exc if logging.getLogger().isEnabledFor(logging.DEBUG) else None
    logging.getLogger(CONNECTOR).error(
        "%s failed: %s", name, safe_text(exc) if exc else args.exc_type.__name__, exc_info=shown
    )


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def _lines(exc: BaseException) -> Iterator[str]:
    inner = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if inner is not None:
        yield from _lines(inner)
        yield "which led to:"
    yield "Traceback (most recent call last):"
    for frame in traceback.extract_tb(exc.__traceback__):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        yield f"    {frame.line}"
    text = safe_text(exc)
    name = type(exc).__name__
    yield name if text == name else f"{name}: {text}"
