"""The hosts of the API by data center, and the settings for connecting to them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# docs/api.md, "Messages" and "Topics".
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


@dataclass(frozen=True)
class Host:
    """A host of the API, and the names of its settings, for error messages.

    Attributes:
        url: The base URL, without a trailing slash.
        token: The Bearer token.
        api: ``api`` or ``developer_api``: the prefix of its settings.
        legacy: Whether it is the legacy domain, which has other paths and no batch endpoint.
    """

    url: str
    token: str = field(repr=False)
    api: str = "api"
    legacy: bool = False

    @property
    def token_setting(self) -> str:
        """The name of the setting that holds the token."""
        return f"{self.api}_token"

    @property
    def url_setting(self) -> str:
        """The name of the setting that holds the URL."""
        return f"{self.api}_url"


@dataclass(frozen=True)
class Timeouts:
    """The time limits of requests.

    Attributes:
        request_secs: The maximum time for a response, in addition to a long poll.
        retry_secs: The maximum time in total for which a request is retried.
    """

    request_secs: float = 30.0
    retry_secs: float = 300.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Timeouts:
        """Read the settings."""
        return cls(config["request_timeout_secs"], config["max_retry_secs"])


def is_loopback(name: str) -> bool:
    """Whether a host name or address refers to this machine."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def messages_host(config: Mapping[str, Any]) -> Host:
    """Return the host for publishing and consuming messages."""
    urls = WORKSPACE_URLS if config["legacy_api"] else PUBLIC_URLS
    url = str(config.get("api_url") or urls[config["data_center"]])
    return Host(url.rstrip("/"), config["api_token"], legacy=config["legacy_api"])


def developer_host(config: Mapping[str, Any]) -> Host:
    """Return the host of the Developer API."""
    url = str(config.get("developer_api_url") or WORKSPACE_URLS[config["data_center"]])
    return Host(url.rstrip("/"), config["developer_api_token"], api="developer_api")
