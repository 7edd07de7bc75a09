"""A minimal API client, with which each check can send exact bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

TIMEOUT_SECS = 90


@dataclass(frozen=True)
class Api:
    """One topic of one workspace.

    Attributes:
        url: Base URL of the messages API.
        token: A token that may consume from and publish to the topic.
        topic_id: A topic that is not used otherwise. Its schema has a required field `n` of type
            integer and an optional field `data` of type string.
    """

    url: str
    token: str = field(repr=False)
    topic_id: int
    session: requests.Session = field(default_factory=requests.Session)

    def post(
        self, path: str, body: bytes, *, token: str | None = None, timeout: float = TIMEOUT_SECS
    ) -> requests.Response:
        """Send a request to the topic; `path` is the part after the topic's id."""
        return self.session.post(
            path.format(url=self.url, topic=self.topic_id),
            data=body,
            headers={
                "Authorization": f"Bearer {token or self.token}",
                "Content-Type": "application/json",
            },
            timeout=timeout,
            allow_redirects=False,
        )

    def consume(self, *, token: str | None = None, **wish: Any) -> requests.Response:  # noqa: ANN401 - any JSON
        """Send a consume request."""
        return self.post(CONSUME, json.dumps(wish).encode(), token=token)

    def publish(self, payload: bytes, *, timeout: float = TIMEOUT_SECS) -> requests.Response:
        """Publish one message."""
        return self.post(PUBLISH, payload, timeout=timeout)

    def batch(self, payloads: Sequence[bytes]) -> requests.Response:
        """Publish a batch of messages."""
        return self.post(BATCH, b'{"payloads":[' + b",".join(payloads) + b"]}")

    def mark(self) -> str:
        """Publish a message and return its id; all later messages belong to the check.

        Raises:
            requests.HTTPError: The request was rejected.
        """
        response = self.publish(b'{"n":0}')
        response.raise_for_status()
        return str(response.json()["message_id"])

    def after(self, message_id: str) -> list[dict[str, Any]]:
        """Return all messages after a message."""
        return [message for page in self.pages(message_id) for message in page]

    def pages(self, message_id: str, batch_size: int = 50) -> Iterator[list[dict[str, Any]]]:
        """Yield the pages after a message, up to the first empty one."""
        while True:
            response = self.consume(after_message_id=message_id, batch_size=batch_size)
            response.raise_for_status()
            page = response.json()["messages"]
            if not page:
                return
            yield page
            message_id = page[-1]["message_id"]


CONSUME = "{url}/api/v1/topics/{topic}/consume"
PUBLISH = "{url}/api/v1/topics/{topic}/publish"
BATCH = "{url}/api/v1/batch/topics/{topic}/publish"
