"""The settings that the tap and the target have in common."""

from __future__ import annotations

from singer_sdk import typing as th

from ..event_streams.session import PUBLIC_URLS

COMMON_SETTINGS = (
    th.Property(
        "api_token",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="API token",
        description="Token of an API client with access to the topics",
    ),
    th.Property(
        "data_center",
        th.StringType(allowed_values=list(PUBLIC_URLS)),
        default="us",
        title="Data center",
        description="Data center of the workspace",
    ),
    th.Property(
        "api_url",
        th.StringType,
        title="API URL",
        description="Base URL of the Event Streams API; overrides `data_center`. Clear-text http "
        "is accepted for loopback addresses only.",
    ),
    th.Property(
        "legacy_api",
        th.BooleanType,
        default=False,
        title="Legacy API",
        description="Use the legacy domain, which has no batch endpoint and no trial data center",
    ),
    th.Property(
        "max_requests_per_minute",
        th.IntegerType(minimum=1),
        title="Max requests per minute",
        description="Maximum number of requests per minute, including retries and long polls, of "
        "this process or, with `quota_url`, of all processes together",
    ),
    th.Property(
        "quota_url",
        th.StringType(min_length=1),
        secret=True,
        title="Quota URL",
        description="Store in which all processes count their requests: `file:///path/quota.db`, "
        "`redis://...`, `rediss://...` (extra `redis`) or `postgresql://...` (extra `postgres`); "
        "requires `max_requests_per_minute`",
    ),
    th.Property(
        "request_timeout_secs",
        # Some operating systems do not support a socket timeout of more than a day.
        th.NumberType(exclusive_minimum=0, maximum=86_400),
        default=30,
        title="Request timeout (seconds)",
        description="Maximum time in seconds for a whole response, in addition to a long poll",
    ),
    th.Property(
        "max_retry_secs",
        th.NumberType(minimum=0),
        default=300,
        title="Max retry time (seconds)",
        description="Maximum time in seconds for which a request is retried",
    ),
    th.Property(
        "developer_api_token",
        th.StringType(min_length=1),
        secret=True,
        title="Developer API token",
        description="Token of the Developer API, which lists the topics and their schemas",
    ),
    th.Property(
        "developer_api_url",
        th.StringType,
        title="Developer API URL",
        description="Base URL of the Developer API; overrides `data_center`",
    ),
    th.Property(
        "metrics_address",
        th.StringType(min_length=1),
        title="Metrics address",
        description="Address (`host:port`) at which metrics for Prometheus are served during a "
        "run (extra `metrics`)",
    ),
)
