"""The executables serve metrics while they run, and the dashboard shows them."""

import json
import re
import socket
from collections.abc import Callable, Iterable, Mapping

import requests

from tests.support.connector import PAYLOAD
from tests.support.raw_service import RawService
from tests.support.running import Running, eventually
from tests.support.singer_lines import record, schema
from tests.tools.docs import ROOT

PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
ROWS = PAGE.split("## Metrics")[1].split("## Alerts")[0]
DOCUMENTED = {f"workato_streams_{name}" for name in re.findall(r"^\| `(\w+)`", ROWS, re.MULTILINE)}
DASHBOARD = ROOT / "orchestrate" / "grafana" / "workato-streams.json"
PANELS = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
NAME = re.compile(r"\b(?:workato_streams|process)_\w+")
SHOWN = {*NAME.findall(str([panel.get("targets") for panel in PANELS]))}
ANY_PORT = "127.0.0.1:0"


def served_when(
    running: Running, condition: Callable[[Mapping[str, float]], object]
) -> dict[str, float]:
    """Read the metrics at the URL in a connector's log until they meet a condition."""
    metrics: dict[str, float] = {}

    def met() -> bool:
        for url in re.findall(r"served at (http://127\.0\.0\.1:\d+/metrics)", running.stderr):
            lines = requests.get(url, timeout=10).text.splitlines()
            samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            metrics.update({name: float(value) for name, value in samples})
        return bool(condition(metrics))

    eventually(met, "the metrics to be as expected")
    return metrics


def own(names: Iterable[str]) -> set[str]:
    """The connectors' metrics, without the suffixes of the parts of a histogram."""
    found = (re.sub("_(bucket|count|sum)$", "", name) for name in names)
    return {name for name in found if name.startswith("workato_streams_")}


def assert_documented(metrics: Mapping[str, float], other: str) -> None:
    """The page and the dashboard have these metrics, and else only those of the other connector."""
    served = {sample.partition("{")[0] for sample in metrics}
    shown = {name for name in SHOWN if f"_{other}_" not in name}
    assert shown <= served
    documented = {name for name in DOCUMENTED if f"_{other}_" not in name}
    assert own(served) == own(shown) == documented


def test_the_dashboard_and_the_documentation_have_the_metrics_that_exist():
    assert own(NAME.findall(PAGE)) <= DOCUMENTED
    assert own(SHOWN) == DOCUMENTED
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_the_tap_serves_metrics_while_it_runs(emulator, start_tap):
    topic = emulator.create_topic("orders")
    emulator.load(topic, [{"n": n, "note": PAYLOAD} for n in range(3)])
    emulator.fault("status", status=429, times=1, headers={"Retry-After": "1"})
    settings = {"topics": [{"id": topic, "name": "orders"}], "tail": True, "timeout_secs": 1}
    tap = start_tap(metrics_address=ANY_PORT, batch_size=2, **settings)
    labels = f'{{stream="orders",topic_id="{topic}"}}'
    read = {
        f"workato_streams_tap_messages_total{labels}": 3.0,
        f"workato_streams_tap_lag_seconds{labels}": 0.0,
    }
    metrics = served_when(tap, lambda found: read.items() <= found.items())
    assert 0 <= metrics[f"workato_streams_tap_bookmark_age_seconds{labels}"] < 60
    assert metrics['workato_streams_requests_total{status="429"}'] == 1
    assert metrics['workato_streams_requests_total{status="200"}'] >= 2
    assert metrics["workato_streams_retries_total"] == 1
    assert "workato_streams_quota_wait_seconds_total" in metrics  # most of a pause is slept before
    assert emulator.token not in str(metrics)
    assert PAYLOAD not in str(metrics)
    assert_documented(metrics, "target")


def test_the_target_serves_metrics_while_it_runs(emulator, start_target, topic):
    target = start_target(metrics_address=ANY_PORT, max_batch_age_secs=0.1)
    target.feed(schema(), record(id=1, note=PAYLOAD), record(id=2, note=PAYLOAD))
    label = f'{{topic_id="{topic}"}}'
    # The time of a batch is counted after its messages, but before it is no longer in flight.
    acknowledged = {
        f"workato_streams_target_messages_published_total{label}": 2.0,
        f"workato_streams_target_batches_in_flight{label}": 0.0,
    }
    metrics = served_when(target, lambda found: acknowledged.items() <= found.items())
    assert metrics[f"workato_streams_target_messages_rejected_total{label}"] == 0
    assert metrics[f"workato_streams_target_rows_unchanged_total{label}"] == 0
    batches = metrics["workato_streams_target_acknowledgement_seconds_count"]
    assert batches in {1, 2}
    assert metrics['workato_streams_requests_total{status="200"}'] == batches
    buckets = [metrics[name] for name in metrics if "_acknowledgement_seconds_bucket" in name]
    assert len(buckets) == 13
    assert buckets == sorted(buckets)
    assert buckets[-1] == batches
    assert emulator.token not in str(metrics)
    assert PAYLOAD not in str(metrics)
    assert_documented(metrics, "tap")


def test_an_address_in_use_is_reported_in_one_line(connector):
    """Each process needs its own port."""
    with (
        RawService(lambda _connection, _number: None) as service,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = connector.run(service.url, metrics_address=address)
    assert ended.exit_code == 1
    [found] = ended.error_lines
    assert f"metrics_address: cannot listen on {address} (Address already in use)" in found
    assert service.requests == []
