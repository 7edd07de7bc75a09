"""An HTTP client for the tests of the emulator itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workato_streams_emulator import Emulator

TIMEOUT_SECS = 30


class Api:
    """A thin client for the emulator's APIs, based on `requests`."""

    def __init__(self, emulator: Emulator) -> None:
        self.url = emulator.url
        self.token = emulator.token
        self.developer_token = emulator.developer_token
        self.session = requests.Session()

    def post(self, path: str, body: bytes | str | None = None, **options: Any) -> requests.Response:  # noqa: ANN401 - options of requests
        """Send a POST request to the public API; `options` may contain `json` instead of a body."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        data = body.encode() if isinstance(body, str) else body
        options = {"allow_redirects": False, "timeout": TIMEOUT_SECS, **options}
        return self.session.post(self.url + path, data=data, headers=headers, **options)

    def consume(self, topic_id: int, **request: Any) -> requests.Response:  # noqa: ANN401 - any JSON
        """Send a consume request."""
        return self.post(f"/api/v1/topics/{topic_id}/consume", json=request)

    def page(self, topic_id: int, **request: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
        """Return the messages of a successful consume request."""
        response = self.consume(topic_id, **request)
        assert response.status_code == 200, response.text
        return list(response.json()["messages"])

    def publish(self, topic_id: int, body: bytes | str) -> requests.Response:
        """Publish one message."""
        return self.post(f"/api/v1/topics/{topic_id}/publish", body)

    def batch(self, topic_id: int, *payloads: bytes | str) -> requests.Response:
        """Publish a batch of unchanged payloads."""
        texts = [each.encode() if isinstance(each, str) else each for each in payloads]
        body = b'{"payloads": [' + b", ".join(texts) + b"]}"
        return self.post(f"/api/v1/batch/topics/{topic_id}/publish", body)

    def developer(self, method: str, path: str = "", **options: Any) -> requests.Response:  # noqa: ANN401 - options of requests
        """Send a request to the Developer API's topics endpoint."""
        headers = {"Authorization": f"Bearer {self.developer_token}", **options.pop("headers", {})}
        url = f"{self.url}/api/event_streams/topics{path}"
        return self.session.request(method, url, headers=headers, timeout=TIMEOUT_SECS, **options)


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Api]:
    """A client for the emulator's APIs."""
    api = Api(emulator)
    with api.session:
        yield api
