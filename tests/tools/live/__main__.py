"""`make check-live`: compare a real workspace with the connectors' assumptions.

Exits with 1 if an assumption does not hold. Without a token, it prints a note and exits with 0.
"""

from __future__ import annotations

import argparse
import os
import sys

from tap_workato_streams.event_streams.session import PUBLIC_URLS

from tests.tools.live.api import Api
from tests.tools.live.checks import run
from tests.tools.live.finding import table

MISSING = """\
skipped: set WORKATO_API_TOKEN and WORKATO_TOPIC_ID, and WORKATO_DATA_CENTER (default: us) or
WORKATO_API_URL. The topic must not be used by anything else, and needs the fields n (integer,
required) and data (string, optional). The token needs permission to consume from the topic and to
publish to it. The checks publish up to {messages} messages."""
# Those that are to be rejected (two do not fit the schema, one is too large) may be accepted.
MESSAGES = 342
# 20 checks of about 4 requests each must stay below the default quota of 60 requests per minute.
PAUSE_SECS = 5.0


def main() -> int:
    """Run all checks, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.live", description=__doc__)
    parser.add_argument(
        "--quota", action="store_true", help="also use up the workspace's quota, to see a 429"
    )
    parser.add_argument("--yes", action="store_true", help="publish without asking")
    options = parser.parse_args()
    token, topic = os.environ.get("WORKATO_API_TOKEN"), os.environ.get("WORKATO_TOPIC_ID")
    if not (token and topic):
        print(MISSING.format(messages=MESSAGES))
        return 0
    center = os.environ.get("WORKATO_DATA_CENTER", "us")
    url = os.environ.get("WORKATO_API_URL") or PUBLIC_URLS.get(center)
    if url is None:
        parser.error(f"WORKATO_DATA_CENTER must be one of {', '.join(PUBLIC_URLS)}")
    if not topic.isdecimal():
        parser.error("WORKATO_TOPIC_ID must be a number")
    print(
        f"This publishes up to {MESSAGES} messages to the topic {topic} at {url}. "
        "Recipes that read it start jobs."
    )
    if not options.yes and not sys.stdin.isatty():
        parser.error("there is no terminal to ask: use make check-live CHECKS=--yes")
    if not options.yes and input("Publish? [y/N] ").strip().lower() not in {"y", "yes"}:
        return 1
    api = Api(url.rstrip("/"), token, int(topic))
    findings = []
    for finding in run(api, use_up_quota=options.quota, pause_secs=PAUSE_SECS):
        print(finding.line(), flush=True)
        findings.append(finding)
    print(f"\n{url}, topic {topic}\n\n{table(findings)}")
    return int(not all(finding.same for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
