"""The executables serve metrics while they run, and the dashboard shows them."""

from __future__ import annotations

import json
import logging
import re
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from tap_workato_streams.plugin.config import connection_problems
from tap_workato_streams.plugin.monitoring import serve_metrics

from tests.support.executables import run
from tests.support.raw_service import RawService, http_response
from tests.support.running import Running, eventually
from tests.support.target import RunningTarget
from tests.tools.docs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workato_streams_emulator import Emulator

    from tests.conftest import WriteConfig

DASHBOARD = ROOT / "orchestrate" / "grafana" / "workato-streams.json"
PAGE = ROOT / "docs" / "monitoring.md"
ANY_PORT = "127.0.0.1:0"
SECRET_PAYLOAD = "payload-secret"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "note": {"type": "string"}}}

Metrics = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scrape(running: Running) -> tuple[str, Metrics]:
    """Read the metrics from the URL in a connector's log."""
    pattern = re.compile(r"metrics are served at (http://127\.0\.0\.1:\d+/metrics)")
    eventually(lambda: pattern.search(running.stderr), "the endpoint to be named")
    found = pattern.search(running.stderr)
    assert found
    text = requests.get(found[1], timeout=10).text
    metrics: Metrics = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values = metrics.setdefault(sample.name, {})
            values[tuple(sorted(sample.labels.items()))] = sample.value
    return text, metrics


def scraped_when(running: Running, condition: Callable[[Metrics], object]) -> tuple[str, Metrics]:
    """Read the metrics until they meet a condition."""
    last: list[tuple[str, Metrics]] = []

    def met() -> bool:
        last[:] = [scrape(running)]
        return bool(condition(last[0][1]))

    eventually(met, "the metrics to be as expected")
    return last[0]


def line(**message: Any) -> bytes:  # noqa: ANN401 - a Singer message is JSON
    return json.dumps(message).encode()


@pytest.fixture
def tap_metrics(emulator: Emulator, write_config: WriteConfig) -> Iterator[tuple[str, Metrics]]:
    """The metrics of a tap in tail mode after three messages, one 429 and one retry."""
    topic = emulator.create_topic("orders")
    emulator.load(topic, [{"n": n, "note": SECRET_PAYLOAD} for n in range(3)])
    emulator.fault("status", status=429, times=1, headers={"Retry-After": "1"})
    settings = {"topics": [{"id": topic, "name": "orders"}], "tail": True, "timeout_secs": 1}
    config = write_config(metrics_address=ANY_PORT, batch_size=2, **settings)

    def reached_the_end(metrics: Metrics) -> bool:
        messages = metrics["workato_streams_tap_messages_total"]
        lag = metrics.get("workato_streams_tap_lag_seconds", {})
        return 3 in messages.values() and 0 in lag.values()

    tap = Running("tap-workato-streams", "--config", config)
    try:
        yield scraped_when(tap, reached_the_end)
    finally:
        tap.kill()


@pytest.fixture
def target_metrics(write_config: WriteConfig, topic: int) -> Iterator[tuple[str, Metrics]]:
    """The metrics of a target that has published two messages and waits for more."""
    config = write_config(default_topic_id=topic, metrics_address=ANY_PORT, max_batch_age_secs=0.1)
    label = (("topic_id", str(topic)),)

    def all_acknowledged(metrics: Metrics) -> bool:
        published = metrics.get("workato_streams_target_messages_published_total", {})
        # The time of a batch is counted after its messages, but before it is no longer in flight.
        in_flight = metrics.get("workato_streams_target_batches_in_flight", {})
        return (published.get(label), in_flight.get(label)) == (2, 0)

    target = RunningTarget("--config", config)
    try:
        target.feed(
            line(type="SCHEMA", stream="orders", schema=SCHEMA, key_properties=["n"]),
            line(type="RECORD", stream="orders", record={"n": 1, "note": SECRET_PAYLOAD}),
            line(type="RECORD", stream="orders", record={"n": 2, "note": SECRET_PAYLOAD}),
        )
        yield scraped_when(target, all_acknowledged)
    finally:
        target.kill()


@pytest.fixture
def topic(emulator: Emulator) -> int:
    """The topic that the target publishes to."""
    return emulator.create_topic("published orders")


def test_the_tap_serves_metrics_while_it_runs(emulator, tap_metrics):
    """It serves messages, lag and bookmark age per topic, requests by status, retries and waits."""
    text, metrics = tap_metrics
    [stream] = metrics["workato_streams_tap_messages_total"]
    assert dict(stream)["stream"] == "orders"
    assert metrics["workato_streams_tap_messages_total"] == {stream: 3}
    assert metrics["workato_streams_tap_lag_seconds"] == {stream: 0}
    [age] = metrics["workato_streams_tap_bookmark_age_seconds"].values()
    assert 0 <= age < 60
    by_status = metrics["workato_streams_requests_total"]
    assert by_status[(("status", "429"),)] == 1
    assert by_status[(("status", "200"),)] >= 2
    assert metrics["workato_streams_retries_total"] == {(): 1}
    assert metrics["workato_streams_quota_wait_seconds_total"][()] >= 0
    assert emulator.token not in text
    assert SECRET_PAYLOAD not in text


def test_the_target_serves_metrics_while_it_runs(emulator, target_metrics, topic):
    """It serves published and rejected messages, avoided duplicates, batches in flight, latency."""
    text, metrics = target_metrics
    label = (("topic_id", str(topic)),)
    assert metrics["workato_streams_target_messages_published_total"] == {label: 2}
    assert metrics["workato_streams_target_messages_rejected_total"] == {label: 0}
    assert metrics["workato_streams_target_duplicates_avoided_total"] == {label: 0}
    assert metrics["workato_streams_target_batches_in_flight"] == {label: 0}
    batches = metrics["workato_streams_target_acknowledgement_seconds_count"][()]
    assert batches in {1, 2}
    buckets = metrics["workato_streams_target_acknowledgement_seconds_bucket"]
    assert buckets[(("le", "+Inf"),)] == batches
    counts = [buckets[bound] for bound in sorted(buckets, key=lambda bound: float(bound[0][1]))]
    assert len(counts) == 13
    assert counts == sorted(counts)
    assert metrics["workato_streams_requests_total"] == {(("status", "200"),): batches}
    assert emulator.token not in text
    assert SECRET_PAYLOAD not in text


def test_each_status_counts_as_itself(write_config):
    """A proxy may respond with another 2xx than the service."""
    accepted = http_response(b'{"messages":[]}', status="202 Accepted")
    with RawService(lambda connection, _number: connection.sendall(accepted)) as service:
        config = write_config(
            api_url=service.url, topics=[{"id": 1}], metrics_address=ANY_PORT, tail=True
        )
        tap = Running("tap-workato-streams", "--config", config)
        try:
            _, metrics = scraped_when(
                tap, lambda found: found.get("workato_streams_requests_total")
            )
        finally:
            tap.kill()
    assert metrics["workato_streams_requests_total"].keys() == {(("status", "202"),)}


def test_the_dashboard_and_the_documentation_have_the_metrics_that_exist(
    tap_metrics, target_metrics
):
    """Each metric in a panel or on the page exists, and each metric is in a panel and a row."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    name = re.compile(r"\b(?:workato_streams|process)_\w+")
    shown = {found for expression in expressions for found in name.findall(expression)}
    served = tap_metrics[1].keys() | target_metrics[1].keys()
    assert shown <= served
    own = {metric for metric in served if metric.startswith("workato_streams_")}
    assert own <= shown
    page = PAGE.read_text(encoding="utf-8")
    rows = page.split("## Metrics")[1].split("## Alerts")[0]
    documented = {
        "workato_streams_" + found for found in re.findall(r"^\| `(\w+)`", rows, re.MULTILINE)
    }
    assert documented == {re.sub("_(bucket|count|sum)$", "", metric) for metric in own}
    assert set(name.findall(page)) <= own
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize("name", ["tap-workato-streams", "target-workato-streams"])
def test_an_address_in_use_is_reported_in_one_line(name, emulator, write_config, topic):
    """Each process needs its own port."""
    routes = {"topics": [{"id": topic}]} if name.startswith("tap") else {"default_topic_id": topic}
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = run(name, "--config", write_config(metrics_address=address, **routes))
    assert ended.exit_code == 1
    [found] = ended.error_lines
    assert f"metrics_address: cannot listen on {address} (Address already in use)" in found
    assert emulator.requests() == []


@pytest.mark.parametrize(
    "address", ["9464", ":9464", "localhost", "localhost:http", "a:70000", "a..b:1"]
)
def test_a_wrong_address_is_explained(address):
    """The error contains an example of a valid address."""
    [problem] = connection_problems({"metrics_address": address})
    assert problem == "metrics_address: must be host:port, such as 127.0.0.1:9464"


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "localhost:1", "[::1]:9464", "0.0.0.0:0"])
def test_an_address_is_accepted(address):
    """Names, IPv4 and IPv6 addresses are valid."""
    assert list(connection_problems({"metrics_address": address})) == []


def test_the_url_of_an_ipv6_address_is_valid(monkeypatch, caplog):
    """The address has brackets, because it is followed by the port."""
    server = SimpleNamespace(server_port=9464)
    monkeypatch.setattr(prometheus_client, "start_http_server", lambda *_: (server, None))
    with caplog.at_level(logging.INFO):
        serve_metrics("[::1]:0", list)
    assert caplog.messages == ["metrics are served at http://[::1]:9464/metrics"]
