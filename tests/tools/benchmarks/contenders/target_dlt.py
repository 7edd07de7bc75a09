"""dlt's custom destination, which posts 100 records at a time with dlt's `requests` helper.

`python -m tests.tools.benchmarks.contenders.target_dlt CONFIG_FILE <SINGER_FILE`
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import orjson
from dlt.sources.helpers import requests


def records() -> Iterator[dict[str, Any]]:
    """Read the records of the Singer stream on stdin."""
    for line in sys.stdin.buffer:
        message = orjson.loads(line)
        if message["type"] == "RECORD":
            yield message["record"]


def main() -> None:
    """Run a pipeline from stdin to the topic."""
    config = orjson.loads(Path(sys.argv[1]).read_bytes())
    url = f"{config['api_url']}/api/v1/batch/topics/{config['topic_id']}/publish"
    headers = {
        "Authorization": f"Bearer {config['api_token']}",
        "Content-Type": "application/json",
    }

    def publish(items: Any, table: Any) -> None:  # noqa: ANN401, ARG001 - as dlt calls it
        requests.post(url, data=orjson.dumps({"payloads": items}), headers=headers)

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "orders",
            pipelines_dir=folder,
            destination=dlt.destination(publish, batch_size=100),
        )
        pipeline.run(dlt.resource(records, name="orders")).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
