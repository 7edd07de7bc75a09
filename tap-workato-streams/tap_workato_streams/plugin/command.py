"""The command line: a failure is one line and exit code 1, without texts that may quote data."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import click
from singer_sdk import exceptions
from singer_sdk.plugin_base import SingerCommand
from typing_extensions import override

from ..event_streams import logger
from ..event_streams.errors import EventStreamsError

# The messages of these exceptions contain names of files and settings, and expressions. Those of
# other exceptions, also of the SDK, may quote a record.
SAFE_TEXTS = (
    EventStreamsError,
    exceptions.ConfigValidationError,
    exceptions.DiscoveryError,
    exceptions.InvalidJSONSchema,
    exceptions.MappingError,
)
# A name or message id from the service or the input may be as large as a message.
MAX_CHARS = 2000


def safe_text(exc: BaseException) -> str:
    """Return the message of an exception on one line, or its type if it may quote a record."""
    return " ".join(str(exc).split()) if is_safe(exc) else type(exc).__name__


def describe(exc: BaseException) -> str:
    """Return the message of an exception on one line, or where it was raised; for an error."""
    if is_safe(exc):
        return safe_text(exc)
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    where = f"{frame.name} ({frame.filename}:{frame.lineno})"
    return f"{type(exc).__name__} in {where}; run again with LOGLEVEL=DEBUG to see more"


def is_safe(exc: BaseException) -> bool:
    """Whether the message of an exception is known not to quote records or responses."""
    # Libraries such as requests derive their own exceptions from OSError.
    is_system = isinstance(exc, OSError) and type(exc).__module__ == "builtins"
    return is_system or isinstance(exc, SAFE_TEXTS)


def make_log_safe() -> None:
    """Log messages on one line of limited length, and tracebacks without exception messages.

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
            record.exc_text = "\n".join(map(_printable, _traceback_lines(record.exc_info[1])))
            record.exc_info = None
        return record

    logging.setLogRecordFactory(make_safe_record)
    threading.excepthook = _log_thread_exception


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "a thread"
    exc = args.exc_value
    shown = exc if logging.getLogger().isEnabledFor(logging.DEBUG) else None
    logger.error(
        "%s failed: %s", name, safe_text(exc) if exc else args.exc_type.__name__, exc_info=shown
    )


def _printable(text: str) -> str:
    """Replace control characters, and the middle of a long text: its end may be the remedy."""
    if (more := len(text) - MAX_CHARS) > 0:
        half = MAX_CHARS // 2
        text = f"{text[:half]}... ({more} more characters) ...{text[-half:]}"
    return "".join(char if char.isprintable() else " " for char in text)


def _traceback_lines(exc: BaseException) -> Iterator[str]:
    inner = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if inner is not None:
        yield from _traceback_lines(inner)
        yield "which led to:"
    yield "Traceback (most recent call last):"
    for entry in traceback.format_tb(exc.__traceback__):
        yield from entry.splitlines()
    text = safe_text(exc)
    name = type(exc).__name__
    yield name if text == name else f"{name}: {text}"


class ConnectorCommand(SingerCommand):
    """A Singer command that reports a failure in one line, with exit code 1."""

    @classmethod
    def of(cls, command: click.Command, logger: logging.Logger) -> ConnectorCommand:
        """Convert the return value of the SDK's ``get_singer_command``."""
        names = ("name", "callback", "params", "help", "context_settings")
        return cls(logger=logger, **{name: getattr(command, name) for name in names})

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, including discovery and tests, which run while options are parsed."""
        make_log_safe()
        try:
            return super().main(*args, **kwargs)
        except Exception as exc:
            shown = exc if self.logger.isEnabledFor(logging.DEBUG) else None
            signal.alarm(3)  # Ends the process if nobody reads stderr, and the log blocks.
            errors = exc.errors if isinstance(exc, exceptions.ConfigValidationError) else ()
            for line in errors or [describe(exc)]:
                self.logger.error("%s", line, exc_info=shown)  # noqa: TRY400 - only at debug level
            signal.alarm(0)
            sys.exit(1)
