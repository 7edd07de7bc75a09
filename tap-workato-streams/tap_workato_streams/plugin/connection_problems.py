"""Checks of tokens, URLs and addresses in the settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..event_streams.hosts import is_loopback
from ..event_streams.quota_url import quota_url_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A label of a host name; underscores occur in internal networks.
LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
MAX_HOST_LENGTH = 253


def connection_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Check tokens, URLs and addresses; values may have a wrong type.

    Yields:
        One line for each problem, without the values, which may be secrets.
    """
    checks = {
        "api_token": _token_problem,
        "api_url": _url_problem,
        "developer_api_token": _token_problem,
        "developer_api_url": _url_problem,
        "metrics_address": _address_problem,
    }
    for name, check in checks.items():
        value = config.get(name)
        if isinstance(value, str) and (problem := check(value)):
            yield f"{name}: {problem}"
    yield from _quota_problems(config)


def _token_problem(token: str) -> str | None:
    if not re.fullmatch(r"[!-~]+", token):
        return "contains whitespace, a line break or another character that tokens cannot have"
    return None


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    # urlsplit drops line breaks.
    if not host or parts.scheme not in {"http", "https"} or not re.fullmatch(r"[!-\[\]-~]+", url):
        return "is not a URL that begins with https://"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must not contain a user name, password, query or fragment"
    if not _is_host(host) or port == 0:
        return "does not contain a valid host"
    if parts.scheme == "http" and not is_loopback(host):
        return "http would send the token in clear text; use https"
    return None


def _address_problem(address: str) -> str | None:
    try:
        parts = urlsplit(f"//{address}")
        has_both = parts.port is not None and _is_host(parts.hostname or "")
    except ValueError:
        has_both = False
    if not has_both or "@" in address or "/" in address:
        return "must be host:port, such as 127.0.0.1:9464"
    return None


def _is_host(host: str) -> bool:
    if ":" in host:
        return True  # An IPv6 address, which urlsplit has validated.
    labels = host.removesuffix(".").split(".")
    return len(host) <= MAX_HOST_LENGTH and all(LABEL.fullmatch(label) for label in labels)


def _quota_problems(config: Mapping[str, Any]) -> Iterator[str]:
    url = config.get("quota_url")
    if not isinstance(url, str):
        return
    for problem in quota_url_problems(url):
        yield f"quota_url: {problem}"
    if config.get("max_requests_per_minute") is None:
        yield "quota_url: requires max_requests_per_minute, the quota that all processes share"
