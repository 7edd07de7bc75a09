"""The command line, which reports a failure in one line."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.plugin_base import SingerCommand
from typing_extensions import override

from .tracebacks import is_safe, make_log_safe, safe_text

if TYPE_CHECKING:
    import click


class ConnectorCommand(SingerCommand):
    """A Singer command that reports a failure in one line, with exit code 1."""

    @classmethod
    def of(cls, command: click.Command, logger: logging.Logger) -> ConnectorCommand:
        """Convert the SDK's command of a plugin.

        Args:
            command: The return value of the SDK's ``get_singer_command``.
            logger: The logger of the plugin.
        """
        return cls(
            name=command.name,
            callback=command.callback,
            params=command.params,
            help=command.help,
            context_settings=command.context_settings,
            logger=logger,
        )

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, including discovery and tests, which run while options are parsed."""
        make_log_safe()
        try:
            return super().main(*args, **kwargs)
        except Exception as exc:
            shown = exc if self.logger.isEnabledFor(logging.DEBUG) else None
            for line in _lines(exc):
                self.logger.error("%s", line, exc_info=shown)  # noqa: TRY400 - only at debug level
            sys.exit(1)


def _lines(exc: Exception) -> list[str]:
    if isinstance(exc, ConfigValidationError) and exc.errors:
        return list(exc.errors)
    if is_safe(exc):
        return [safe_text(exc)]
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    where = f"{frame.name} ({frame.filename}:{frame.lineno})"
    return [f"{type(exc).__name__} in {where}; run again with LOGLEVEL=DEBUG to see more"]
