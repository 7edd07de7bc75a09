"""Records are validated to every digit, and the reason of a violation has no content."""

from typing import Any

import pytest
from target_workato_streams.mapping import Validator

VALID: list[tuple[dict[str, Any], str]] = [
    ({"multipleOf": 0.01}, "1.10"),
    ({"multipleOf": 0.01}, "4.35"),
    ({"multipleOf": 0.01}, "123456789012345678901234567890.12"),
    ({"enum": [1.1]}, "1.10"),
    ({"const": 1.1}, "1.10"),
    ({"type": "integer"}, "9" * 30),
    ({"type": "integer"}, "1.0"),
    ({"type": "number"}, "1e400"),
    ({"type": "string"}, '"\\ud800"'),
]


@pytest.mark.parametrize(("rule", "value"), VALID)
def test_numbers_are_validated_to_every_digit(rule, value):
    validator = Validator({"properties": {"n": rule}})
    assert validator.problem(f'{{"n":{value}}}'.encode()) is None


def test_a_reason_names_fields_of_the_schema_only():
    """A name that only the record has may be data."""
    validator = Validator(
        {
            "properties": {"id": {}, "list": {"items": {"properties": {"a": {"type": "string"}}}}},
            "additionalProperties": {"type": "null"},
            "required": ["id"],
        }
    )
    assert "$.list[*].a violates" in str(validator.problem(b'{"id":1,"list":[{"a":7}]}'))
    assert "$.* violates `type`" in str(validator.problem(b'{"id":1,"secret":7}'))
    assert '"id" is a required property' in str(validator.problem(b"{}"))
