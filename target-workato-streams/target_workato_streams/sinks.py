"""The SDK's path for records that must be decoded or validated, without the lossy steps."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_sdk import metrics
from singer_sdk.exceptions import InvalidJSONSchema, MappingError
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.sinks import RecordSink
from typing_extensions import override

from .event_streams.errors import EventStreamsError
from .input.messages import InputError, Stream
from .plugin.json import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class Validator:
    """Validates the records of a stream.

    The SDK's validator compares decimals with floats, so that ``multipleOf: 0.01`` rejects 1.10.

    Args:
        schema: The JSON Schema of the stream.

    Raises:
        InvalidJSONSchema: The schema is not a JSON Schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        import jsonschema_rs  # noqa: PLC0415 - only with validate_records

        try:
            # Draft 7 without formats, like the SDK. References to other hosts are not resolved.
            self._validator = jsonschema_rs.Draft7Validator(
                schema, validate_formats=False, offline=True
            )
        except (ValueError, RecursionError) as exc:
            raise InvalidJSONSchema("not a JSON Schema") from exc

    def problem(self, record: bytes) -> str | None:
        """Return the rule that a record violates, without its content; None if it is valid.

        An exception during validation is also a problem of the record, and does not end the run.
        """
        try:
            # The library does not accept subclasses of Decimal.
            value = decode(_SURROGATE.sub(rb"\\ufffd", record), Decimal)
            error = next(iter(self._validator.iter_errors(value)), None)
        except Exception as exc:  # noqa: BLE001 - see above
            return f"cannot be validated ({type(exc).__name__})"
        if error is None:
            return None
        path = _path(error.schema_path)
        if error.schema_path[-1] == "required":
            return f"{path} violates the stream's schema: {error.message}"
        return f"{path} violates `{error.schema_path[-1]}` of the stream's schema"


def _path(schema_path: Sequence[str | int]) -> str:
    """Return the path of a field in the schema; names that are only in the record may be data."""
    path, parts = "$", iter(schema_path[:-1])
    for part in parts:
        if part == "properties":
            path += f".{next(parts, '')}"
        elif part == "items":
            path += "[*]"
        elif part in {"additionalProperties", "patternProperties"}:
            path += ".*"
    return path


def encode(record: Mapping[str, Any]) -> bytes:
    """Encode a record."""
    return serialize_json(record).encode()


@contextmanager
def mapping(stream: str) -> Iterator[None]:
    """Name the stream if the SDK fails to apply a stream map or flattening.

    Raises:
        InputError: The stream map or flattening failed. The message of exceptions other than the
            SDK's is omitted, because it may quote a record.
    """
    try:
        yield
    except (EventStreamsError, OSError):
        raise
    except InvalidJSONSchema:
        raise InputError(f"stream {stream}: the schema is not a JSON Schema") from None
    except Exception as exc:
        text = str(exc) if isinstance(exc, MappingError) else type(exc).__name__
        raise InputError(
            f"stream {stream}: its stream map or flattening failed ({text}); fix stream_maps"
        ) from exc


class MessageSink(RecordSink):
    """Passes on each record that the SDK has mapped, flattened or validated.

    Attributes:
        stream: The stream after stream maps.
        publish: Called with the sink, the encoded record, and the problem if it is invalid.
    """

    publish: Callable[[MessageSink, bytes, str | None], None]

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - of the SDK
        super().__init__(**kwargs)
        self.stream = Stream(self.stream_name, tuple(self.key_properties))
        self._records = Validator(self.schema) if self.validate_schema else None

    @override
    def get_validator(self) -> None:
        """Return no validator: `Validator` is used instead."""

    @override
    def get_sink_record_counter(self) -> metrics.Counter:
        # Acknowledged messages are counted instead, under the same name (summary.py).
        return metrics.Counter(metrics.Metric.RECORD_COUNT, log_interval=math.inf)

    @override
    def process_record(self, record: dict[str, Any], context: Mapping[str, Any]) -> None:
        text = encode(record)
        self.publish(self, text, self._problem(record, text))

    def _problem(self, record: Mapping[str, Any], text: bytes) -> str | None:
        if self._records is None:
            return None
        if missing := [key for key in self._key_properties if key not in record]:
            return f"key property {' and '.join(missing)} is missing"
        return self._records.problem(text)

    @override
    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        # The SDK's method would log the record, end the run, and convert date-times.
        return record

    @override
    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        """Do nothing: the SDK's method would end the run, so `process_record` validates."""

    @override
    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """Keep fields that belong to the source."""

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Keep fields that belong to the source."""
