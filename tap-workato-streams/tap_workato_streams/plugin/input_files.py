"""JSON files that are given on the command line: config, state and catalog."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import simplejson

from ..event_streams.errors import SettingError


def read_json(file: IO[str], label: str) -> Any:  # noqa: ANN401 - JSON
    """Read a JSON file.

    Args:
        file: The open file.
        label: The description of the file in errors, such as ``state file state.json``.

    Raises:
        SettingError: Its content is not JSON.
    """
    try:
        return simplejson.loads(file.read(), parse_float=Decimal)
    except simplejson.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}"
    except UnicodeDecodeError as exc:
        reason = f"not UTF-8 at byte {exc.start + 1}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError:
        reason = "it contains a number with too many digits"
    raise SettingError(f"{label}: not JSON ({reason})")


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a config file.

    Raises:
        SettingError: The file does not exist, or does not contain a JSON object.
    """
    label = f"config file {path}"
    try:
        with Path(path).open(encoding="utf-8") as file:
            config = read_json(file, label)
    except OSError as exc:
        raise SettingError(f"{label}: cannot be read ({exc.strerror})") from exc
    if not isinstance(config, dict):
        raise SettingError(f"{label}: not a JSON object of settings")
    return config
