"""The settings that tap and target have in common, and the URLs that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Mapping

# Contract: "Public API", "Legacy domain" and "Developer API".
PUBLIC_URLS = {
    "us": "https://event-streams.workato.com",
    "eu": "https://event-streams.eu.workato.com",
    "jp": "https://event-streams.jp.workato.com",
    "sg": "https://event-streams.sg.workato.com",
    "au": "https://event-streams.au.workato.com",
    "trial": "https://event-streams.trial.workato.com",
}
WORKSPACE_URLS = {
    "us": "https://www.workato.com",
    "eu": "https://app.eu.workato.com",
    "jp": "https://app.jp.workato.com",
    "sg": "https://app.sg.workato.com",
    "au": "https://app.au.workato.com",
    "trial": "https://app.trial.workato.com",
}

COMMON_SETTINGS = (
    th.Property(
        "api_token",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="API token",
        description="Token of an API client that may use the topics",
    ),
    th.Property(
        "data_center",
        th.StringType(allowed_values=list(PUBLIC_URLS)),
        default="us",
        title="Data center",
        description="Where the workspace is",
    ),
    th.Property(
        "api_url",
        th.StringType,
        title="API URL",
        description="Base URL of the messages API, in place of the data center's",
    ),
    th.Property(
        "legacy_api",
        th.BooleanType,
        default=False,
        title="Legacy API",
        description="Use the paths of the legacy domain",
    ),
    th.Property(
        "max_requests_per_minute",
        th.IntegerType(minimum=1),
        title="Max requests per minute",
        description="Most requests to send in any minute, retries and long polls included",
    ),
    th.Property(
        "quota_url",
        th.StringType(min_length=1),
        secret=True,
        title="Quota URL",
        description="Store in which all processes count their requests: file:///path/quota.db, "
        "redis://..., rediss://... or postgresql://...; needs max_requests_per_minute",
    ),
    th.Property(
        "request_timeout_secs",
        th.NumberType(exclusive_minimum=0),
        default=30,
        title="Request timeout (seconds)",
        description="How long to wait for an answer, on top of a long poll",
    ),
    th.Property(
        "max_retry_secs",
        th.NumberType(minimum=0),
        default=300,
        title="Max retry time (seconds)",
        description="How long one request may be retried in all",
    ),
    th.Property(
        "developer_api_token",
        th.StringType(min_length=1),
        secret=True,
        title="Developer API token",
        description="Token of the Developer API, which knows the workspace's topics and schemas",
    ),
    th.Property(
        "developer_api_url",
        th.StringType,
        title="Developer API URL",
        description="Base URL of the Developer API, in place of the data center's",
    ),
)


def base_url(config: Mapping[str, Any]) -> str:
    """The base URL of the messages API, without a slash at its end."""
    urls = WORKSPACE_URLS if config["legacy_api"] else PUBLIC_URLS
    return str(config.get("api_url") or urls[config["data_center"]]).rstrip("/")


def developer_url(config: Mapping[str, Any]) -> str:
    """The base URL of the Developer API, without a slash at its end."""
    url = config.get("developer_api_url") or WORKSPACE_URLS[config["data_center"]]
    return str(url).rstrip("/")
