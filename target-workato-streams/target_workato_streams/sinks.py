"""The SDK's path for records that must be decoded, without the steps that lose data."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jsonschema import ValidationError
from singer_sdk import metrics
from singer_sdk.exceptions import InvalidRecord
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.sinks import RecordSink
from typing_extensions import override

from .input.records import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

MAX_INT_DIGITS = 4300


class Digits(Decimal):
    """A number that is encoded as it was decoded, such as 1E5 or 1.10."""

    _text: str

    def __new__(cls, text: str) -> Self:  # noqa: D102
        number = super().__new__(cls, text)
        number._text = text
        return number

    @override
    def __str__(self) -> str:
        return self._text


def decode(text: bytes) -> Any:  # noqa: ANN401
    """Decode JSON so that `encode` restores every digit.

    Raises:
        ValueError: It cannot be decoded.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_float=Digits, parse_int=_integer)


def encode(record: Mapping[str, Any]) -> bytes:
    """Encode a record."""
    return serialize_json(record).encode()


def _integer(text: str) -> int | Digits:
    return int(text) if len(text) <= MAX_INT_DIGITS else Digits(text)


class MessageSink(RecordSink):
    """Passes on each record that the SDK has mapped, flattened or validated.

    Attributes:
        stream: The stream that it publishes, after stream maps.
        publish: Called with the sink, the encoded record, and why it is invalid if it is.
    """

    publish: Callable[[MessageSink, bytes, str | None], None]
    _invalid: str | None = None

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.stream = Stream(self.stream_name, tuple(self.key_properties))

    @override
    def get_sink_record_counter(self) -> metrics.Counter:
        # Acknowledged messages are counted instead, under the same name (summary.py).
        return metrics.Counter(metrics.Metric.RECORD_COUNT, log_interval=math.inf)

    @override
    def process_record(self, record: dict[str, Any], context: Mapping[str, Any]) -> None:
        self.publish(self, encode(record), self._invalid)

    @override
    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        # The SDK's own logs the record, ends the run, and converts date-times.
        self._invalid = None
        if self._validator is not None:
            try:
                self._validator.validate(record)
            except InvalidRecord as exc:
                self._invalid = _reason(exc)
        return record

    @override
    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        # The SDK's own ends the run, even if records are not to be validated.
        missing = [key for key in self._key_properties if key not in record]
        if missing and self._validator is not None and self._invalid is None:
            self._invalid = f"key property {' and '.join(missing)} is missing"

    @override
    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """Keep fields that belong to the source."""

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Keep fields that belong to the source."""


def _reason(exc: InvalidRecord) -> str:
    """Return which rule a record violates, without its content."""
    cause = exc.__cause__
    if isinstance(cause, ValidationError):
        return f"{cause.json_path} violates `{cause.validator}` of the stream's schema"
    return "violates the stream's schema"
