"""The endpoint from which Prometheus reads the metrics of a run.

Only imported if ``metrics_address`` is set, because prometheus-client is an extra.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from ..event_streams import CONNECTOR
from ..event_streams.errors import SettingError
from .monitoring import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric as Family

    from .monitoring import Metric

logger = logging.getLogger(CONNECTOR)

PREFIX = "workato_streams_"


def serve_metrics(address: str, metrics: Callable[[], Iterable[Metric | Histogram]]) -> None:
    """Serve metrics in a daemon thread for the rest of the process.

    Args:
        address: The setting ``metrics_address``.
        metrics: Returns the metrics and their current values.

    Raises:
        SettingError: The server cannot listen on the address.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(metrics))
    ProcessCollector(registry=registry)
    parts = urlsplit(f"//{address}")
    try:
        server, _ = start_http_server(parts.port or 0, parts.hostname or "", registry)
    except OSError as exc:
        raise SettingError(
            f"metrics_address: cannot listen on {address} ({exc.strerror}); "
            "each process needs its own port"
        ) from exc
    host = address.rpartition(":")[0]
    logger.info("metrics are served at http://%s:%d/metrics", host, server.server_port)


class _Collector:
    """Passes the metrics to prometheus-client."""

    def __init__(self, metrics: Callable[[], Iterable[Metric | Histogram]]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        """Yield all metrics with their current values."""
        for metric in self._metrics():
            name = PREFIX + metric.name
            if isinstance(metric, Histogram):
                durations = HistogramMetricFamily(name, metric.description)
                buckets, total = metric.buckets()
                durations.add_metric([], buckets, total)
                yield durations
                continue
            kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
            family = kind(name, metric.description, labels=metric.labels)
            for labels, value in metric.values.items():
                family.add_metric(labels, value)
            yield family
