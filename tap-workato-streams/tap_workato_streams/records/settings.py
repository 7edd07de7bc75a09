"""The settings for the format of records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.helpers._flattening import get_flattening_options

from .evolution import ADD_COLUMNS, RESCUE
from .layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_sdk.helpers._flattening import PluginFlatteningConfig

NESTED, UNPACKED = "nested", "unpacked"
RECORD_FORMATS = (NESTED, UNPACKED)


@dataclass(frozen=True)
class RecordSettings:
    """The format of records, and the evolution of their schema.

    Args:
        layout: The format of records that are split into columns; None for nested records.
        schema_evolution: The setting; None for the default, which depends on the topic.
        has_batch_files: Whether records are written to batch files.
        stream_maps: The setting.
    """

    layout: Layout | None
    schema_evolution: str | None
    has_batch_files: bool
    stream_maps: Mapping[str, Any]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RecordSettings:
        """Pick the settings from a checked config."""
        flattening = None
        if config.get("flattening_enabled"):
            flattening = get_flattening_options(cast("PluginFlatteningConfig", config))
        unpacked = config["record_format"] == UNPACKED
        return cls(
            layout=Layout(unpacked, flattening) if unpacked or flattening else None,
            schema_evolution=config.get("schema_evolution"),
            has_batch_files=bool(config.get("batch_config")),
            stream_maps=config.get("stream_maps") or {},
        )

    @property
    def levels(self) -> int:
        """The number of levels of objects below the payload that become columns."""
        return self.layout.levels if self.layout else 0

    def mode(self, *, is_declared: bool) -> str:
        """Return the schema evolution of a topic."""
        if self.schema_evolution:
            return self.schema_evolution
        return RESCUE if is_declared or self.has_batch_files else ADD_COLUMNS
