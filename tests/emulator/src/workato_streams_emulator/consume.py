"""The consume endpoint: pages of a topic's messages, with long polls."""

from __future__ import annotations

import time
from http import HTTPStatus

import msgspec

from workato_streams_emulator.clock import parse
from workato_streams_emulator.exchange import ApiResponse, Problem
from workato_streams_emulator.service import Call, Service
from workato_streams_emulator.store import Row, Topic

MAX_BATCH_SIZE = 50
MAX_TIMEOUT_SECS = 60


class ConsumeRequest(msgspec.Struct):
    """The body of a consume request."""

    after_message_id: str | None = None
    since_time: str | None = None
    batch_size: int | None = None
    timeout_secs: int | None = None


_request = msgspec.json.Decoder(ConsumeRequest)


async def consume(service: Service, call: Call) -> ApiResponse | None:
    """Respond to `POST .../consume` with the next messages, if need be after a long poll."""
    topic = service.topic(call.topic_id)
    request = read_request(call.body)
    after, since = cursor(service, topic, request)
    batch_size = MAX_BATCH_SIZE if request.batch_size is None else request.batch_size
    limit = min(batch_size, service.settings.page_limit or MAX_BATCH_SIZE)
    deadline = time.monotonic() + (request.timeout_secs or 0)
    while True:
        newer_than = max(since, service.horizon(topic))
        before, unreadable_secs = service.first_unreadable(topic)
        rows = service.store.page(
            topic.id, after=after, before=before, newer_than=newer_than, limit=limit
        )
        secs = deadline - time.monotonic()
        if rows or secs <= 0:
            return ApiResponse(page(with_repeats(service, topic, rows, after, limit)))
        if not await service.arrivals.wait(topic.id, call.receive, min(secs, unreadable_secs)):
            return None


def read_request(body: bytes) -> ConsumeRequest:
    """Parse the body of a consume request.

    Raises:
        Problem: 400, a parameter is invalid.
    """
    try:
        request = _request.decode(body) if body else ConsumeRequest()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not a consume request: {exc}") from exc
    if request.after_message_id is not None and request.since_time is not None:
        raise Problem(HTTPStatus.BAD_REQUEST, "after_message_id and since_time exclude each other")
    if request.batch_size is not None and not 1 <= request.batch_size <= MAX_BATCH_SIZE:
        raise Problem(HTTPStatus.BAD_REQUEST, f"batch_size must be from 1 to {MAX_BATCH_SIZE}")
    if request.timeout_secs is not None and not 0 <= request.timeout_secs <= MAX_TIMEOUT_SECS:
        raise Problem(HTTPStatus.BAD_REQUEST, f"timeout_secs must be from 0 to {MAX_TIMEOUT_SECS}")
    return request


def cursor(service: Service, topic: Topic, request: ConsumeRequest) -> tuple[int, str]:
    """Return the position and the time after which a page starts.

    Raises:
        Problem: `after_message_id` does not exist in the topic, or `since_time` is not a time.
    """
    if request.after_message_id is not None:
        return position_of_request(service, topic, request.after_message_id), ""
    if request.since_time is not None:
        try:
            since = parse(request.since_time)
        except ValueError as exc:
            raise Problem(HTTPStatus.BAD_REQUEST, f"since_time: {exc}") from exc
        if since >= service.clock.stamp():
            # A future time means now. A position is exact to the message, a time is not.
            return service.store.last_position, ""
        return service.store.start_of(topic.id, since), since
    return 0, ""


def position_of_request(service: Service, topic: Topic, message_id: str) -> int:
    """Return the position of `after_message_id`.

    Raises:
        Problem: The topic has no such message, or none that can be read.
    """
    fault = service.faults.take("consume", topic.id, message_id)
    if fault and fault.kind == "expire":
        store = service.store
        position = store.find(topic.id, fault.up_to or message_id, newer_than="")
        store.drop(topic.id, position or 0)
    horizon = service.horizon(topic)
    position = service.store.find(topic.id, message_id, newer_than=horizon)
    before, _ = service.first_unreadable(topic)
    is_rejected = fault is not None and fault.kind == "reject_position"
    if position is None or position >= before or is_rejected:
        raise Problem(
            (fault and fault.status) or service.settings.expired_status,
            "The message with after_message_id does not exist in this topic",
        )
    return position


def with_repeats(
    service: Service, topic: Topic, rows: list[Row], after: int, limit: int
) -> list[Row]:
    """Return a page with the messages that the topic delivers twice; the last one is new."""
    deviations = service.deviations(topic.id)
    if not deviations.repeat_every or not rows:
        return rows
    if deviations.repeat_in == "same_page":
        repeats = deviations.repeats(rows, service.store)
        return [each for row in rows for each in [row] * (1 + (row in repeats))][:limit]
    earlier = service.store.page(
        topic.id,
        after=max(0, after - limit),
        before=after + 1,
        newer_than=service.horizon(topic),
        limit=limit,
    )
    return [*deviations.repeats(earlier, service.store)[: limit - 1], *rows][:limit]


def page(rows: list[Row]) -> bytes:
    """Build the body of a page around the unchanged bytes of the payloads."""
    messages = [
        b'{"message_id":"%b","payload":%b,"time":"%b"}' % (text.encode(), payload, at.encode())
        for text, at, payload in rows
    ]
    return b'{"messages":[%b]}' % b",".join(messages)
