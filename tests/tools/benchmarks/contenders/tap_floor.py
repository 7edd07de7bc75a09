"""The floor: a bare loop that reads a topic and writes RECORD lines.

`python -m tests.tools.benchmarks.contenders.tap_floor CONFIG_FILE`
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson


def main() -> None:
    """Read page after page on one connection, and write each page immediately."""
    config = orjson.loads(Path(sys.argv[1]).read_bytes())
    topic_id = config["topic_id"]
    connection = HTTPConnection(urlsplit(config["api_url"]).netloc)
    path = f"/api/v1/topics/{topic_id}/consume"
    headers = {
        "Authorization": f"Bearer {config['api_token']}",
        "Content-Type": "application/json",
    }
    body: dict[str, Any] = {"batch_size": 50}
    while True:
        connection.request("POST", path, orjson.dumps(body), headers)
        messages = orjson.loads(connection.getresponse().read())["messages"]
        if not messages:
            break
        now = datetime.now(timezone.utc)
        lines = [
            orjson.dumps(
                {
                    "type": "RECORD",
                    "stream": "orders",
                    "record": {
                        "message_id": message["message_id"],
                        "topic_id": topic_id,
                        "time": message["time"],
                        "payload": message["payload"],
                    },
                    "time_extracted": now,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for message in messages
        ]
        sys.stdout.buffer.write(b"".join(lines))
        sys.stdout.buffer.flush()
        body["after_message_id"] = messages[-1]["message_id"]


if __name__ == "__main__":
    main()
