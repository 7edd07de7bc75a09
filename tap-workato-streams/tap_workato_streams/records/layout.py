"""The format of records: nested, or with columns, and where in a record each column is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.helpers._flattening import flatten_key, get_flattening_options

from .columns import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_sdk.helpers._flattening import FlatteningOptions, PluginFlatteningConfig

    from .columns import Columns, Path

NESTED, UNPACKED = "nested", "unpacked"
RECORD_FORMATS = (NESTED, UNPACKED)

RESCUED = "_rescued"
PAYLOAD = "payload"
PREFIX = "payload_"
# In all formats, a record has these fields.
MESSAGE_FIELDS: Mapping[str, dict[str, Any]] = {
    "message_id": {"type": "string", "description": "Opaque; not sortable"},
    "topic_id": {"type": "integer"},
    "time": {"type": "string", "format": "date-time", "description": "Time of publication"},
}
RESCUED_SCHEMA: Mapping[str, Any] = {
    "type": ["object", "null"],
    "description": "Values without a column, by JSON Pointer",
}


def message_schema(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a record with these fields next to those of the message."""
    return {
        "type": "object",
        "properties": {**MESSAGE_FIELDS, **fields},
        "required": ["message_id"],
    }


@dataclass(frozen=True)
class Layout:
    """The format of a record that is split into columns.

    Args:
        unpacked: Whether the payload's fields are at the top level of the record or in `payload`.
        flattening: The options of the SDK's flattening; None without flattening.
    """

    unpacked: bool
    flattening: FlatteningOptions | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layout | None:
        """Pick the format from a checked config; None for nested records without flattening."""
        flattening = None
        if config.get("flattening_enabled"):
            flattening = get_flattening_options(cast("PluginFlatteningConfig", config))
        unpacked = config["record_format"] == UNPACKED
        return cls(unpacked, flattening) if unpacked or flattening else None

    @property
    def levels(self) -> int:
        """The number of levels of objects below the payload that become columns."""
        if self.flattening is None:
            return 0
        return self.flattening.max_level - (0 if self.unpacked else 1)

    def record_path(self, path: Path) -> Path:
        """Return the path of a payload's field in the record before flattening."""
        if not self.unpacked:
            return (PAYLOAD, *path)
        if not path:
            return ()
        first = PREFIX + path[0] if path[0] in MESSAGE_FIELDS else path[0]
        return (first, *path[1:])

    def column_name(self, path: Path) -> str:
        """Return the name of a field's column."""
        *parents, name = self.record_path(path)
        if self.flattening is None:
            return name
        return flatten_key(
            name,
            parents,
            self.flattening.separator,
            max_key_length=self.flattening.max_key_length,
        )

    def record_schema(self, columns: Columns) -> dict[str, Any]:
        """Return the JSON Schema of the record before flattening."""
        if self.unpacked:
            fields = {
                self.record_path((name,))[0]: {**schema, **prefixed_notes(name)}
                for name, schema in schemas(columns).items()
            }
        elif columns:
            fields = {PAYLOAD: {"type": ["object", "null"], "properties": schemas(columns)}}
        else:
            # Flattening would turn an object without properties into a text column.
            fields = {}
        # New columns come last, so that they do not move others in a CSV file.
        return message_schema({RESCUED: RESCUED_SCHEMA, **fields})


def prefixed_notes(name: str) -> dict[str, str]:
    """Return the note for a column with a prefix, by which it is recognized in a catalog."""
    return {"description": f"`{name}` of the payload"} if name in MESSAGE_FIELDS else {}
