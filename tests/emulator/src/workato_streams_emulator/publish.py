"""The publish endpoints: one message, or a batch with a result for each entry."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from workato_streams_emulator.payloads import is_object, split_batch, whole
from workato_streams_emulator.responses import Problem
from workato_streams_emulator.schema import misfit
from workato_streams_emulator.service import to_json

if TYPE_CHECKING:
    from workato_streams_emulator.responses import ApiResponse
    from workato_streams_emulator.service import Call, Service
    from workato_streams_emulator.store import Topic

MAX_PAYLOADS = 100


async def publish(service: Service, call: Call) -> ApiResponse:
    """Respond to `POST .../publish`, whose body is the message."""
    topic = service.topic(call.topic_id)
    payload = whole(call.body)
    reason = fault_of(service, topic, payload)
    if reason:
        raise Problem(HTTPStatus.BAD_REQUEST, reason)
    return to_json({"message_id": store(service, topic, [payload])[0]})


async def publish_batch(service: Service, call: Call) -> ApiResponse:
    """Respond to `POST /api/v1/batch/...` with up to 100 messages, which are stored in order."""
    topic = service.topic(call.topic_id)
    payloads = split_batch(call.body)
    if not 1 <= len(payloads) <= MAX_PAYLOADS:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"payloads must hold 1 to {MAX_PAYLOADS} messages, not {len(payloads)}",
        )
    reasons = {
        index: reason
        for index, payload in enumerate(payloads)
        if (reason := fault_of(service, topic, payload))
    }
    if reasons and service.settings.rejection == "status":
        index = min(reasons)
        raise Problem(service.settings.rejection_status, f"payloads[{index}]: {reasons[index]}")

    lost, left_out = set(reasons), set()
    if call.fault and call.fault.kind == "entry_error":
        reasons.update(dict.fromkeys(call.fault.indices, call.fault.reason))
        lost.update(call.fault.indices)
    if call.fault and call.fault.kind == "missing_entry":
        left_out = set(call.fault.indices)
        lost |= set() if call.fault.stored else left_out

    kept = [index for index in range(len(payloads)) if index not in lost]
    ids = dict(zip(kept, store(service, topic, [payloads[index] for index in kept]), strict=True))
    entries: dict[str, dict[str, Any]] = {
        str(index): {"result": "error", "error": reasons[index]}
        if index in reasons
        else {"message_id": ids[index], "result": "success"}
        for index in range(len(payloads))
        if index not in left_out
    }
    return to_json({"is_partial_error": bool(reasons), "message_ids": entries})


def fault_of(service: Service, topic: Topic, payload: bytes) -> str | None:
    """Return the reason why a payload is rejected, or None if it is valid."""
    if not is_object(payload):
        return "the message must be a JSON object"
    return misfit(payload, topic.schema) if service.settings.schema_checks else None


def store(service: Service, topic: Topic, payloads: list[bytes]) -> list[str]:
    """Store messages with the current time, wake the long polls, and return the ids."""
    ids = service.store.append(topic.id, payloads, [service.clock.stamp()] * len(payloads))
    if ids:
        service.arrivals.announce(topic.id)
    return ids
