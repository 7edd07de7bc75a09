"""The command line: a run that fails says why in one line."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

from simplejson import JSONDecodeError
from singer_sdk.exceptions import (
    ConfigValidationError,
    DiscoveryError,
    InvalidJSONSchema,
    MappingError,
)
from singer_sdk.plugin_base import SingerCommand
from typing_extensions import override

from ..event_streams.errors import EventStreamsError

if TYPE_CHECKING:
    import click

# The texts of these name files, settings and expressions. Others, of this SDK too, may quote a
# record: of those, the kind and the place are told.
PLAIN_SPOKEN = (
    ConfigValidationError,
    DiscoveryError,
    EventStreamsError,
    InvalidJSONSchema,
    MappingError,
    OSError,
)


class ConnectorCommand(SingerCommand):
    """A Singer command whose failures are one line each, with exit code 1."""

    @classmethod
    def of(cls, command: click.Command, logger: logging.Logger) -> ConnectorCommand:
        """Give the SDK's command of a plugin this class.

        Args:
            command: What the SDK's ``get_singer_command`` returned.
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
        """Run the command. Discovery and tests run while its options are parsed, so they too."""
        try:
            return super().main(*args, **kwargs)
        except Exception as exc:
            shown = exc if self.logger.isEnabledFor(logging.DEBUG) else None
            for line in _lines(exc):
                self.logger.error("%s", line, exc_info=shown)  # noqa: TRY400
            sys.exit(1)


def _lines(exc: Exception) -> list[str]:
    if isinstance(exc, ConfigValidationError) and exc.errors:
        return list(exc.errors)
    if isinstance(exc, JSONDecodeError):
        return [f"the config, state or catalog file is not JSON: {exc}"]
    if isinstance(exc, PLAIN_SPOKEN):
        return [" ".join(str(exc).split())]
    place = traceback.extract_tb(exc.__traceback__)[-1]
    where = f"{place.name} ({place.filename}:{place.lineno})"
    return [f"{type(exc).__name__} in {where}; run again with LOGLEVEL=DEBUG to see more"]
