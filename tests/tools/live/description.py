"""The service's OpenAPI description, compared with what the connectors send and expect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.tools.live.api import TIMEOUT_SECS, Api
from tests.tools.live.finding import Finding

PATH = "/api/v1/openapi.json"
LIMITS = ("minimum", "maximum", "minItems", "maxItems", "enum")
COMMON = {
    "path parameter": "integer, required",
    **{f"status {status}": "described" for status in (200, 400, 401, 403, 404, 429)},
}
# What is known of each operation: docs/api.md, "Messages".
EXPECTED = {
    "POST /api/v1/topics/{}/consume": {
        **COMMON,
        "request": "object",
        "request.after_message_id": "string",
        "request.since_time": "string",
        "request.batch_size": "integer, minimum 1, maximum 50",
        "request.timeout_secs": "integer, minimum 0, maximum 60",
        "response": "object",
        "response.messages": "array",
        "response.messages[]": "object",
        "response.messages[].message_id": "string",
        "response.messages[].payload": "object",
        "response.messages[].time": "string",
    },
    "POST /api/v1/topics/{}/publish": {
        **COMMON,
        "request": "object",
        "response": "object",
        "response.message_id": "string",
    },
    "POST /api/v1/batch/topics/{}/publish": {
        **COMMON,
        "request": "object",
        "request.payloads": "array, required, maxItems 100",
        "request.payloads[]": "object",
        "response": "object",
        "response.is_partial_error": "boolean",
        "response.message_ids": "object",
        "response.message_ids[]": "object",
        "response.message_ids[].message_id": "string",
        "response.message_ids[].result": "string",
    },
}


def description(api: Api) -> list[Finding]:
    """Fetch the description, and return a finding for each difference, or one if there is none.

    Raises:
        requests.RequestException: There is no description, or it is not JSON.
    """
    # No token: the description is public.
    response = api.session.get(api.url + PATH, timeout=TIMEOUT_SECS, allow_redirects=False)
    response.raise_for_status()
    same = Finding("OpenAPI description", "as the connectors expect", "no difference", same=True)
    return list(differences(response.json())) or [same]


def differences(document: dict[str, Any]) -> Iterator[Finding]:
    """Yield what a description has differently, has in addition, or lacks."""
    described = {place: dict(facts) for place, facts in _operations(document)}
    for place in sorted(EXPECTED.keys() | described.keys()):
        if place not in EXPECTED or place not in described:
            known = ("not known", "described") if place in described else ("described", "missing")
            yield Finding(place, *known, same=False)
            continue
        ours, theirs = EXPECTED[place], described[place]
        for name in sorted(ours.keys() | theirs.keys()):
            assumed, seen = ours.get(name, "not known"), theirs.get(name, "missing")
            if assumed != seen:
                yield Finding(f"{place}, {name}", assumed, seen, same=False)


Facts = Iterator[tuple[str, str]]


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, Facts]]:
    base = urlsplit((document.get("servers") or [{"url": ""}])[0]["url"]).path.rstrip("/")
    for path, methods in document["paths"].items():
        shared = methods.get("parameters", [])
        for method in methods.keys() & {"get", "put", "post", "patch", "delete"}:
            place = f"{method.upper()} {re.sub('{.*?}', '{}', base + path)}"
            yield place, _facts(document, methods[method], shared)


def _facts(document: dict[str, Any], operation: dict[str, Any], shared: list[Any]) -> Facts:
    """Yield the parameters, the statuses, and the fields of the request and the response."""
    for each in (*shared, *operation.get("parameters", ())):
        parameter = _resolve(document, each)
        # The name of a path's parameter is not sent.
        name = "" if parameter["in"] == "path" else f" {parameter['name']}"
        is_required = parameter.get("required", False)
        schema = _resolve(document, parameter["schema"])
        yield f"{parameter['in']} parameter{name}", _kind(schema, is_required=is_required)
    bodies = {"request": _resolve(document, operation.get("requestBody", {}))}
    for status, response in operation["responses"].items():
        # The connectors retry after any 5xx.
        if status.isdecimal() and status < "500":
            yield f"status {status}", "described"
        if status == "200":
            bodies["response"] = _resolve(document, response)
    for name, body in bodies.items():
        for content in body.get("content", {}).values():
            yield from _fields(document, name, content["schema"])


def _fields(
    document: dict[str, Any], name: str, schema: dict[str, Any], *, is_required: bool = False
) -> Facts:
    schema = _resolve(document, schema)
    yield name, _kind(schema, is_required=is_required)
    # Only in a request is it a difference whether a field is required.
    required = schema.get("required", ()) if name.startswith("request") else ()
    for key, value in schema.get("properties", {}).items():
        yield from _fields(document, f"{name}.{key}", value, is_required=key in required)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict) and schema[key]:
            yield from _fields(document, f"{name}[]", schema[key])


def _kind(schema: dict[str, Any], *, is_required: bool) -> str:
    words = [str(schema.get("type", "any")), *["required"] * is_required]
    return ", ".join([*words, *(f"{key} {schema[key]}" for key in LIMITS if key in schema)])


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference points to, and the parts of an `allOf` as one schema."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    merged = {**schema}
    for each in schema.get("allOf", ()):
        part = _resolve(document, each)
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged = {**part, **merged, "properties": properties, "required": required}
    return merged
