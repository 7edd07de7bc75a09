"""dlt's `rest_api` source for the same endpoint; its records are written as RECORD lines.

The source is iterated without dlt's normalizing and loading, because a tap only extracts.
`python -m tests.tools.benchmarks.contenders.tap_dlt CONFIG_FILE`
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

import orjson
from dlt.sources.rest_api import rest_api_source


def main() -> None:
    """Iterate over the source, and write each record immediately."""
    config = orjson.loads(Path(sys.argv[1]).read_bytes())
    source = rest_api_source(
        {
            "client": {
                "base_url": config["api_url"],
                "auth": {"type": "bearer", "token": config["api_token"]},
            },
            "resources": [
                {
                    "name": "orders",
                    "primary_key": "message_id",
                    "endpoint": {
                        "path": f"/api/v1/topics/{config['topic_id']}/consume",
                        "method": "POST",
                        "json": {"batch_size": 50},
                        "data_selector": "messages",
                        "paginator": {
                            "type": "cursor",
                            "cursor_path": "messages[-1].message_id",
                            "cursor_body_path": "after_message_id",
                        },
                    },
                }
            ],
        }
    )
    for message in source.resources["orders"]:
        line = {
            "type": "RECORD",
            "stream": "orders",
            "record": {**message, "topic_id": config["topic_id"]},
            "time_extracted": datetime.now(timezone.utc),
        }
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
