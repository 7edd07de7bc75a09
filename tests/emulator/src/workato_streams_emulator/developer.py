"""The Developer API: list, create, update, purge and delete topics."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from workato_streams_emulator.exchange import ApiResponse, Problem, to_json
from workato_streams_emulator.schema import malformed
from workato_streams_emulator.service import Call, Service
from workato_streams_emulator.store import Topic

MAX_PER_PAGE = 100
MAX_RETENTION_SECS = 90 * 86_400
SORTS = {"id", "name", "retention"}


class TopicChange(msgspec.Struct):
    """The body of a create or update request; unset fields are not changed."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    retention: int | msgspec.UnsetType = msgspec.UNSET
    schema: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


async def topics(service: Service, call: Call) -> ApiResponse:
    """Respond to `/api/event_streams/topics`: GET lists topics, POST creates one."""
    if call.method == "POST":
        request = read_request(call.body)
        if "name" not in request:
            raise Problem(HTTPStatus.BAD_REQUEST, "name is required")
        if any(each.name == request["name"] for each in service.store.topics.values()):
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Name has already been taken")
        return to_json({"data": service.store.add_topic(**request)})
    page = number(call.query, "page", default=1)
    per_page = min(number(call.query, "per_page", default=MAX_PER_PAGE), MAX_PER_PAGE)
    found = listed(service, call.query)
    shown = found[(page - 1) * per_page : page * per_page]
    with_schema = call.query.get("include_schema") == "true"
    data = [show(topic, with_schema=with_schema) for topic in shown]
    return to_json({"count": len(found), "data": data})


async def topic(service: Service, call: Call) -> ApiResponse:
    """Respond to `/api/event_streams/topics/{id}`: GET, PUT (update) and DELETE."""
    found = service.topic(call.topic_id)
    if call.method == "DELETE":
        service.store.delete_topic(found.id)
        return to_json({"data": {"success": True}})
    if call.method == "PUT":
        found = msgspec.structs.replace(found, **read_request(call.body))
        service.store.keep_topic(found)
    return to_json({"data": found})


async def purge(service: Service, call: Call) -> ApiResponse:
    """Respond to `PUT /api/event_streams/topics/{id}/purge`, which removes all messages."""
    found = service.topic(call.topic_id)
    service.store.drop(found.id, service.store.last_position)
    return to_json({"data": {"success": True}})


def listed(service: Service, query: Mapping[str, str]) -> list[Topic]:
    """Return the topics whose name contains `name`, sorted by a field (descending: `-field`)."""
    name = query.get("name", "").casefold()
    sort = query.get("sort", "id")
    if sort.lstrip("-") not in SORTS:
        raise Problem(HTTPStatus.BAD_REQUEST, f"sort must be one of {', '.join(sorted(SORTS))}")
    found = [each for each in service.store.topics.values() if name in each.name.casefold()]
    return sorted(
        found, key=lambda each: getattr(each, sort.lstrip("-")), reverse=sort.startswith("-")
    )


def show(topic: Topic, *, with_schema: bool) -> dict[str, Any]:
    """Encode a topic for a list, which contains schemas only on request."""
    shown = msgspec.structs.asdict(topic)
    if not with_schema:
        del shown["schema"]
    return shown


def number(query: Mapping[str, str], name: str, *, default: int) -> int:
    """Parse a query parameter that is a number from 1.

    Raises:
        Problem: 400, the parameter is invalid.
    """
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be a number from 1")
    return int(text)


def read_request(body: bytes) -> dict[str, Any]:
    """Parse the body of a create or update request.

    Raises:
        Problem: 400, a field is invalid.
    """
    try:
        request = msgspec.json.decode(body, type=TopicChange)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not a topic: {exc}") from exc
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(request).items()
        if value is not msgspec.UNSET
    }
    if not 1 <= fields.get("retention", 1) <= MAX_RETENTION_SECS:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"retention must be 1 to {MAX_RETENTION_SECS} seconds"
        )
    reason = malformed(fields.get("schema", []))
    if reason:
        raise Problem(HTTPStatus.BAD_REQUEST, reason)
    return fields
