"""The stream maps of one stream."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

KEY_PROPERTIES, ALIAS, SOURCE = "__key_properties__", "__alias__", "__source__"


@dataclass(frozen=True)
class StreamMaps:
    """The maps of one stream; None is a map that removes the stream."""

    maps: Sequence[Mapping[str, Any] | None]

    @classmethod
    def of(cls, stream: str, setting: Mapping[str, Any]) -> StreamMaps:
        """Find the maps that the SDK applies to a stream."""
        found: list[Mapping[str, Any] | None] = []
        for name, definition in setting.items():
            about = definition if isinstance(definition, dict) else {}
            if fnmatch(stream, about.get(SOURCE, name)) or stream == about.get(SOURCE, name):
                found.append(definition if isinstance(definition, dict) else None)
        return cls(found)

    @property
    def keep_records(self) -> bool:
        """Whether the records are emitted unchanged, possibly with another stream name or key."""
        return not self.maps or (
            len(self.maps) == 1
            and self.maps[0] is not None
            and self.maps[0].keys() <= {KEY_PROPERTIES, ALIAS}
        )

    def payload_keys(self, default: Collection[str]) -> set[str]:
        """Return the key properties that must be in the records before they are mapped.

        Args:
            default: The key properties of the unmapped stream.
        """
        if not self.maps:
            return set(default)
        keys = ((map_, _keys(map_, default)) for map_ in self.maps if map_ is not None)
        return {key for map_, names in keys for key in names if key not in map_}

    def has_other_key(self, default: Collection[str]) -> bool:
        """Whether several records may have the same key, unlike messages."""
        maps = self.maps or [{}]
        return any(
            list(_keys(map_, default)) not in ([], ["message_id"])
            for map_ in maps
            if map_ is not None
        )

    def mentions(self, name: str) -> bool:
        """Whether a map sets or removes a property."""
        return any(name in map_ for map_ in self.maps if map_)


def _keys(map_: Mapping[str, Any], default: Collection[str]) -> Collection[str]:
    return (map_[KEY_PROPERTIES] or []) if KEY_PROPERTIES in map_ else default
