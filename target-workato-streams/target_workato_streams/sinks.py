"""The SDK's way for records that have to be decoded, without its steps that lose something."""

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

from .publishing.messages import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from .target import TargetWorkatoStreams

MAX_INT_DIGITS = 4300


class Digits(Decimal):
    """A number that is written as it was read: 1E5 and 1.10 stay so."""

    _text: str

    def __new__(cls, text: str) -> Self:  # noqa: D102
        number = super().__new__(cls, text)
        number._text = text
        return number

    @override
    def __str__(self) -> str:
        return self._text


def decode(text: bytes) -> Any:  # noqa: ANN401
    """Decode JSON so that `encode` gives back every digit.

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
    """Hands each record that the SDK has mapped, flattened or validated to the producer."""

    _target: TargetWorkatoStreams
    _invalid: str | None = None

    def __init__(self, target: TargetWorkatoStreams, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(target=target, **kwargs)
        self._target = target
        self.stream = Stream(self.stream_name, tuple(self.key_properties))

    @override
    def get_sink_record_counter(self) -> metrics.Counter:
        # What the service acknowledged is counted instead (summary.py), under the same name.
        return metrics.Counter(metrics.Metric.RECORD_COUNT, log_interval=math.inf)

    @override
    def process_record(self, record: dict[str, Any], context: Mapping[str, Any]) -> None:
        self._target.take_mapped(self, encode(record), self._invalid)

    @override
    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        # The SDK's own would log the record, stop the run, and turn texts into dates.
        self._invalid = None
        if self._validator is not None:
            try:
                self._validator.validate(record)
            except InvalidRecord as exc:
                self._invalid = _reason(exc)
        return record

    @override
    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        # The SDK's own would stop the run, also of those who do not want records validated.
        missing = [key for key in self._key_properties if key not in record]
        if missing and self._validator is not None and self._invalid is None:
            self._invalid = f"it has no {' and no '.join(missing)}, of the key of its stream"

    @override
    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """The source owns what the target did not add."""

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Likewise."""


def _reason(exc: InvalidRecord) -> str:
    """Where and which rule, without the value."""
    cause = exc.__cause__
    if isinstance(cause, ValidationError):
        return f"{cause.json_path} does not keep to `{cause.validator}` of the stream's schema"
    return "it does not fit the stream's schema"
