"""An HTTP client for the tests of the emulator itself."""

from typing import Any

import pytest
import requests
from requests import Response
from workato_streams_emulator import Emulator


class Api:
    """A client for the public API and the Developer API; `options` are those of `requests`."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def request(self, method: str, path: str, **options: Any) -> Response:  # noqa: ANN401
        """Send a request, by default with the token of the public API."""
        headers = {"Authorization": f"Bearer {self._emulator.token}"}
        options = {"headers": headers, "allow_redirects": False, "timeout": 30, **options}
        return requests.request(method, self._emulator.url + path, **options)  # noqa: S113 - see above

    def post(self, path: str, body: bytes | str = "{}", **options: Any) -> Response:  # noqa: ANN401
        """Send a POST request."""
        return self.request("POST", path, data=body, **options)

    def consume(self, topic_id: int, **request: Any) -> Response:  # noqa: ANN401 - any JSON
        """Send a consume request."""
        return self.request("POST", f"/api/v1/topics/{topic_id}/consume", json=request)

    def page(self, topic_id: int, **request: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
        """Return the messages of a successful consume request."""
        response = self.consume(topic_id, **request)
        assert response.status_code == 200, response.text
        return list(response.json()["messages"])

    def numbers(self, topic_id: int, **request: Any) -> list[int]:  # noqa: ANN401 - any JSON
        """Return the field `n` of each message of a page."""
        return [message["payload"]["n"] for message in self.page(topic_id, **request)]

    def publish(self, topic_id: int, body: bytes | str = "{}", timeout: float = 30) -> Response:
        """Publish one message."""
        return self.post(f"/api/v1/topics/{topic_id}/publish", body, timeout=timeout)

    def batch(self, topic_id: int, *payloads: bytes | str) -> Response:
        """Publish a batch of unchanged payloads."""
        texts = [each.encode() if isinstance(each, str) else each for each in payloads]
        body = b'{"payloads": [' + b", ".join(texts) + b"]}"
        return self.post(f"/api/v1/batch/topics/{topic_id}/publish", body)

    def developer(self, method: str, path: str = "", **options: Any) -> Response:  # noqa: ANN401
        """Send a request to the Developer API's topics endpoint."""
        headers = {"Authorization": f"Bearer {self._emulator.developer_token}"}
        return self.request(method, f"/api/event_streams/topics{path}", headers=headers, **options)


@pytest.fixture
def api(emulator: Emulator) -> Api:
    """A client for the emulator's APIs."""
    return Api(emulator)
