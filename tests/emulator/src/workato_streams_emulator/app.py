"""The routes: the operation of each path."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import Mount, Route, Router

from workato_streams_emulator import control_plane, developer
from workato_streams_emulator.consume import consume
from workato_streams_emulator.endpoint import Endpoint
from workato_streams_emulator.publish import publish, publish_batch
from workato_streams_emulator.responses import Problem

if TYPE_CHECKING:
    from typing import NoReturn

    from workato_streams_emulator.service import Call, Service

TOPICS = "/api/event_streams/topics"


async def not_found(_service: Service, _call: Call) -> NoReturn:
    """Respond with 404 to unknown paths, such as a batch endpoint in the legacy domain."""
    raise Problem(HTTPStatus.NOT_FOUND, "Not found")


def application(service: Service) -> Router:
    """The emulator as an ASGI application."""
    consuming = Endpoint(service, "consume", consume)
    publishing = Endpoint(service, "publish", publish)
    batch = Endpoint(service, "batch", publish_batch)
    listing = Endpoint(service, "topics", developer.topics, ("GET", "POST"))
    topic = Endpoint(service, "topics", developer.topic, ("GET", "PUT", "DELETE"))
    purge = Endpoint(service, "topics", developer.purge, ("PUT",))
    any_method = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
    other = Endpoint(service, "other", not_found, any_method)
    # The routes are tried in this order, so the most frequent comes first.
    return Router(
        [
            Route("/api/v1/topics/{topic_id}/consume", consuming),
            Route("/api/v1/batch/topics/{topic_id}/publish", batch),
            Route("/api/v1/topics/{topic_id}/publish", publishing),
            Route("/api/pubsub/topics/{topic_id}/consume", consuming),
            Route("/api/pubsub/topics/{topic_id}/publish", publishing),
            Route(TOPICS, listing),
            Route(TOPICS + "/{topic_id}", topic),
            Route(TOPICS + "/{topic_id}/purge", purge),
            Mount("/_emulator", routes=control_plane.routes(service)),
            Route("/{path:path}", other),
        ],
        redirect_slashes=False,
    )
