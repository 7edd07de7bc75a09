"""The base class of streams, which overrides parts of the SDK's stream."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._catalog import pop_deselected_record_properties
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.singerlib import Catalog, CatalogEntry, Schema
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL
from singer_sdk.streams import Stream
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.mapper import StreamMap


mapper_logger = logging.getLogger("singer_sdk.mapper")


class SdkStream(Stream):
    """A stream of opaque ids in topic order, whose schema may change during a run."""

    # A payload that does not conform to its schema is emitted unchanged.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        # The SDK logs only that a sync has failed as an error; the command logs why.
        if level < logging.ERROR:
            super().log(message, *args, level=level, **kwargs)

    @property
    @override
    def is_sorted(self) -> bool:
        return True  # The messages are in topic order, so an interrupted run can resume.

    @property
    @override
    def check_sorted(self) -> bool:
        return False  # Message ids are opaque, so the SDK must not compare them.

    @property
    @override
    def replication_method(self) -> str:
        """Incremental, unless full-table replication is requested explicitly."""
        is_full_table = self.forced_replication_method == REPLICATION_FULL_TABLE
        return REPLICATION_FULL_TABLE if is_full_table else REPLICATION_INCREMENTAL

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply the selection and schema of a catalog, but ignore its replication key.

        With another key, the SDK would write its name next to a message id. Without a key, it would
        read the full table in each run.
        """
        super().apply_catalog(catalog)
        self.replication_key = "message_id"

    @property
    @override
    def stream_maps(self) -> list[StreamMap]:
        """The stream maps; created when first needed, because the state must be known."""
        if self._stream_maps is None:
            self.register()
        return super().stream_maps

    def register(self) -> None:
        """Create the stream maps for the schema of the stream, again after each change."""
        entry = CatalogEntry(
            tap_stream_id=self.tap_stream_id,
            stream=self.name,
            schema=Schema.from_dict(self.effective_schema),
            metadata=self.metadata,
            key_properties=self.primary_keys,
        )
        if self._stream_maps is not None:
            # The SDK has already logged its messages about the maps.
            mapper_logger.setLevel(logging.WARNING)
        self._tap.mapper.register_raw_streams_from_catalog(Catalog([(self.name, entry)]))
        self._stream_maps = self._tap.mapper.stream_maps[self.name]

    @property
    def is_emitted(self) -> bool:
        """Whether the stream maps keep the stream."""
        return not isinstance(self.stream_maps[0], RemoveRecordTransform)

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[Record, Any, Any]:
        """Yield the records without deselected properties, which the SDK leaves in batch files."""
        for record in super()._sync_records(context, write_messages=write_messages):
            pop_deselected_record_properties(record, self.schema, self.mask)
            yield record

    @override
    def get_batches(
        self,
        batch_config: BatchConfig,
        context: Context | None = None,
    ) -> Iterable[tuple[BaseBatchFileEncoding, list[str]]]:
        """Write batch files with the SDK, which always uses gzip, regardless of the setting.

        Yields:
            The actual encoding of the files, and their URLs.
        """
        for encoding, files in super().get_batches(batch_config, context):
            yield replace(encoding, compression="gzip"), files
