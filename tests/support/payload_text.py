"""Payloads as JSON text: generated ones that drift, and what a record says they were."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st
from tap_workato_streams.records.columns import Columns, Layout, Path
from tap_workato_streams.records.json_values import is_json_text

Json = Any


class Number(NamedTuple):
    """A number as it is written."""

    digits: str


class Text(str):
    """The content of a text column: equals a string, or a number or boolean as JSON text."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, published: object) -> bool:
        """Whether this is the text of a published value."""
        if isinstance(published, bool):
            published = json.dumps(published)
        return str(self) == (published.digits if isinstance(published, Number) else published)


def loads(text: bytes | str) -> Json:
    """Decode JSON; numbers keep every digit and the way they are written."""
    return json.loads(text, parse_float=Number, parse_int=Number)


NAMES = [
    *("a", "b", "a__b", "message_id", "payload_message_id", "topic_id", "time", "payload"),
    *("_rescued", "x~y/z", "", 'quote"', "back\\slash", "ü", "with space", "\x00", "\ud800"),
]
SCALARS = r"""
    null true false 0 -1 42 9223372036854775807 9223372036854775808
    1.0 1.10 1E5 0.0000001 0.1234567890123456789012345 1e400 -0 1e-400 1e-99999
    "" "x" "12" "null" "[1]" "ü" "2024-01-31" "2024-02-29" "2023-02-29"
    "2024-01-31T01:02:03Z" "2024-01-31T01:02:03.123456+02:00" "2024-01-31T01:02:03"
    "2024-01-31T01:02:03.1234567Z" "line\nbreak" "a\u0000b" "a\\u0000b" "\ud800" "\ud83d\ude00"
    "\"a\\u0000b\"" "\"\\ud800\""
"""
LONG = "0." + "3" * 4000


def _dumps_object(fields: list[tuple[str, str]]) -> str:
    members = ",".join(f"{json.dumps(name)}:{value}" for name, value in fields)
    return f"{{{members}}}"


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return objects(inner) | st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects; names come twice now and then, as JSON allows."""
    return st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=5).map(_dumps_object)


values = st.recursive(st.sampled_from([*SCALARS.split(), LONG]), _containers, max_leaves=8)
payloads = st.one_of(objects(values), objects(values), objects(values), values).map(str.encode)


def original(record: Mapping[str, Json], layout: Layout, columns: Columns) -> Json:
    """Put the payload together again from an unflattened record and its rescued data."""
    rescued = {path: _published(value) for path, value in (record.get("_rescued") or {}).items()}
    if "" in rescued and not isinstance(record_part := rescued[""], dict):
        return record_part
    payload: dict[str, Json] = {}
    if layout.unpacked:
        for name in columns:
            column = layout.record_path((name,))[0]
            if column in record:
                payload[name] = record[column]
    else:
        payload = record["payload"]
    payload = _with_texts(payload, columns)
    for pointer, value in rescued.items():
        _put(payload, pointer, value)
    return payload


def _with_texts(part: Mapping[str, Json], columns: Columns) -> dict[str, Json]:
    found = dict(part)
    for name in found.keys() & columns.keys():
        value, column = found[name], columns[name]
        if column.fields and isinstance(value, dict):
            found[name] = _with_texts(value, column.fields)
        elif column.types == ("string",) and not column.format and isinstance(value, str):
            found[name] = Text(value)
    return found


def _published(value: Json) -> Json:
    if isinstance(value, str) and is_json_text(value.encode()):
        return loads(value)
    return value


def _put(payload: dict[str, Json], pointer: str, value: Json) -> None:
    names = [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]
    place = payload
    for name in names[:-1]:
        place = place[name]
    if names and not (names[-1] in place and isinstance(place[names[-1]], dict)):
        place[names[-1]] = value
        return
    # Fields whose names cannot be stored are those of the object itself.
    (place[names[-1]] if names else place).update(value)


def leaves(columns: Columns, parents: Path = ()) -> dict[Path, str]:
    """The path of each column to its first type."""
    found: dict[Path, str] = {}
    for name, column in columns.items():
        path = (*parents, name)
        if column.fields:
            found |= leaves(column.fields, path)
        else:
            found[path] = column.types[0]
    return found
