"""The service's description of itself in OpenAPI, derived from Workato's documentation."""

from __future__ import annotations

from typing import Any

from workato_streams_emulator.consume import MAX_BATCH_SIZE, MAX_TIMEOUT_SECS
from workato_streams_emulator.exchange import ApiResponse, to_json
from workato_streams_emulator.publish import MAX_PAYLOADS
from workato_streams_emulator.service import Call, Service

TEXT = {"type": "string"}
PAYLOAD = {"type": "object"}
ERRORS = {
    "400": "The request or a message is invalid",
    "401": "The token is invalid",
    "403": "The token lacks the permission",
    "404": "The topic does not exist",
    "429": "The quota is used up",
}


def _object(*, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - a schema
    return {"type": "object", "properties": properties, "required": list(required)}


def _operation(body: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    errors = {
        status: {"description": text, "content": _json({"$ref": "#/components/schemas/Error"})}
        for status, text in ERRORS.items()
    }
    return {
        "post": {
            "parameters": [{"$ref": "#/components/parameters/topic_id"}],
            "requestBody": {"content": _json(body)},
            "responses": {"200": {"description": "OK", "content": _json(response)}, **errors},
        }
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


DESCRIPTION = {
    "openapi": "3.0.3",
    "info": {"title": "Event streams", "version": "1"},
    "servers": [{"url": "/api/v1"}],
    "paths": {
        "/topics/{topic_id}/consume": _operation(
            _object(
                after_message_id=TEXT,
                since_time={**TEXT, "format": "date-time"},
                batch_size={"type": "integer", "minimum": 1, "maximum": MAX_BATCH_SIZE},
                timeout_secs={"type": "integer", "minimum": 0, "maximum": MAX_TIMEOUT_SECS},
            ),
            _object(messages={"type": "array", "items": {"$ref": "#/components/schemas/Message"}}),
        ),
        "/topics/{topic_id}/publish": _operation(PAYLOAD, _object(message_id=TEXT)),
        "/batch/topics/{topic_id}/publish": _operation(
            _object(
                required=("payloads",),
                payloads={"type": "array", "maxItems": MAX_PAYLOADS, "items": PAYLOAD},
            ),
            _object(
                is_partial_error={"type": "boolean"},
                message_ids={
                    "type": "object",
                    "additionalProperties": _object(message_id=TEXT, result=TEXT),
                },
            ),
        ),
    },
    "components": {
        "parameters": {
            "topic_id": {
                "name": "topic_id",
                "in": "path",
                "required": True,
                "schema": {"type": "integer"},
            }
        },
        "schemas": {
            "Message": _object(message_id=TEXT, payload=PAYLOAD, time=TEXT),
            "Error": _object(message=TEXT, code={"type": "integer"}),
        },
    },
}


async def describe(_service: Service, _call: Call) -> ApiResponse:
    """Respond to `GET /api/v1/openapi.json`, which needs no token."""
    return to_json(DESCRIPTION)
