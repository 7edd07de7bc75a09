"""A stock target: a `BatchSink` that posts 100 records at a time, as in the SDK's documentation.

It serializes batches itself, because `requests` cannot serialize the SDK's decimals and datetimes.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar

import requests
from singer_sdk import BatchSink, Target
from singer_sdk import typing as th
from typing_extensions import override


class BatchPublisher(BatchSink):
    """Publishes a batch in one request."""

    max_size = 100

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        topic_id = self.config["topic_id"]
        response = requests.post(
            f"{self.config['api_url']}/api/v1/batch/topics/{topic_id}/publish",
            data=json.dumps({"payloads": context["records"]}, default=_plain),
            headers={
                "Authorization": f"Bearer {self.config['api_token']}",
                "Content-Type": "application/json",
            },
            timeout=30,
        )
        response.raise_for_status()


class StockTarget(Target):
    """A target of one topic."""

    name = "target-stock"
    default_sink_class = BatchPublisher
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("api_url", th.StringType, required=True),
        th.Property("api_token", th.StringType, required=True, secret=True),
        th.Property("topic_id", th.IntegerType, required=True),
    ).to_dict()


def _plain(value: Any) -> str | float:  # noqa: ANN401
    return value.isoformat() if isinstance(value, datetime) else float(value)


if __name__ == "__main__":
    StockTarget.cli()
