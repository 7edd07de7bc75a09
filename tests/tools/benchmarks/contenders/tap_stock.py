"""A stock tap: a `RESTStream` for one topic, as in the SDK's documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.helpers.types import Auth, Context, Record
from typing_extensions import override

from tests.tools.benchmarks.workload import SCHEMA, STREAM


class Messages(RESTStream[str]):
    """The messages of a topic."""

    name = STREAM
    http_method = "POST"
    primary_keys: ClassVar[Sequence[str]] = ["message_id"]
    replication_key = "message_id"
    records_jsonpath = "$.messages[*]"
    next_page_token_jsonpath = "$.messages[-1:].message_id"
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "message_id": {"type": "string"},
            "topic_id": {"type": "integer"},
            "time": {"type": "string"},
            "payload": SCHEMA,
        },
    }

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["api_url"])

    @property
    @override
    def path(self) -> str:  # type: ignore[override]
        return f"/api/v1/topics/{self.config['topic_id']}/consume"

    @property
    @override
    def authenticator(self) -> Auth:
        return BearerTokenAuthenticator(token=self.config["api_token"])

    @override
    def prepare_request_payload(
        self, context: Context | None, next_page_token: str | None
    ) -> dict[str, Any]:
        cursor = {"after_message_id": next_page_token} if next_page_token else {}
        return {"batch_size": 50, **cursor}

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record:
        return {**row, "topic_id": self.config["topic_id"]}


class StockTap(Tap):
    """A tap of one topic."""

    name = "tap-stock"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("api_url", th.StringType, required=True),
        th.Property("api_token", th.StringType, required=True, secret=True),
        th.Property("topic_id", th.IntegerType, required=True),
    ).to_dict()

    @override
    def discover_streams(self) -> list[Messages]:
        return [Messages(self)]


if __name__ == "__main__":
    StockTap.cli()
