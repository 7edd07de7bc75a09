"""The floor: a bare loop that reads RECORD lines and publishes them.

`python -m tests.tools.benchmarks.contenders.target_floor CONFIG_FILE <SINGER_FILE`
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import orjson


def main() -> None:
    """Publish batch after batch of 100 on one connection."""
    config = orjson.loads(Path(sys.argv[1]).read_bytes())
    connection = HTTPConnection(urlsplit(config["api_url"]).netloc)
    path = f"/api/v1/batch/topics/{config['topic_id']}/publish"
    headers = {
        "Authorization": f"Bearer {config['api_token']}",
        "Content-Type": "application/json",
    }
    messages = map(orjson.loads, sys.stdin.buffer)
    records = (message["record"] for message in messages if message["type"] == "RECORD")
    while batch := list(islice(records, 100)):
        connection.request("POST", path, orjson.dumps({"payloads": batch}), headers)
        response = orjson.loads(connection.getresponse().read())
        if response["is_partial_error"]:
            raise RuntimeError("a record was rejected")


if __name__ == "__main__":
    main()
