"""The stores of a shared quota, and the URL that names one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

DEFAULT_NAME = "workato_streams"
# The name becomes part of a table name, which PostgreSQL limits to 63 characters.
NAME = re.compile(r"[a-z0-9_-]{1,32}")


@dataclass(frozen=True)
class QuotaUrl:
    """A parsed ``quota_url``.

    Attributes:
        scheme: One of file, redis, rediss, postgresql.
        name: Distinguishes workspaces that share a store.
        address: The URL for the store's library; it may contain a password.
    """

    scheme: str
    name: str
    address: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> QuotaUrl:
        """Parse a URL in which ``quota_url_problems`` finds no problems."""
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        names = [value for key, value in query if key == "name"]
        rest = urlencode([(key, value) for key, value in query if key != "name"])
        address = urlunsplit(parts._replace(query=rest))
        return cls(parts.scheme, names[-1] if names else DEFAULT_NAME, address)

    @property
    def path(self) -> Path:
        """The file of a ``file`` URL."""
        return Path(url2pathname(urlsplit(self.address).path))

    def __str__(self) -> str:
        """The URL without user name, password and options."""
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    def redact(self, text: str) -> str:
        """Replace the passwords of this URL in a text, such as that of a library's exception."""
        parts = urlsplit(self.address)
        passwords = [parts.password or ""]
        passwords += [value for key, value in parse_qsl(parts.query) if "password" in key]
        for password in passwords:
            for secret in filter(None, (password, unquote(password))):
                text = text.replace(secret, "***")
        return text


def quota_url_problems(url: str) -> Iterator[str]:
    """Check a ``quota_url``.

    Yields:
        The problems, without the URL, which may contain a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        yield "not a valid URL"
        return
    if parts.scheme == "file":
        yield from _file_problems(parts)
    elif parts.scheme in {"redis", "rediss"}:
        if not parts.hostname:
            yield f"must contain the host, such as {parts.scheme}://localhost:6379/0"
    # libpq can take the host from an option or from the environment.
    elif parts.scheme != "postgresql":
        yield "must begin with file:///, redis://, rediss:// or postgresql://"
        return
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "name" and not NAME.fullmatch(value):
            yield "name must be 1 to 32 lower-case letters, digits, _ or -"


def _file_problems(parts: SplitResult) -> Iterator[str]:
    if parts.netloc not in {"", "localhost"} or not re.match("/+[^/]", parts.path):
        yield "must contain the absolute path of a file, such as file:///var/lib/meltano/quota.db"
        return
    if {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)} - {"name"}:
        yield "the only parameter of a file URL is name"
    path = Path(url2pathname(parts.path))
    try:
        if path.is_dir():
            yield f"{path} is a folder; add the name of a file"
        elif not path.parent.is_dir():
            yield f"the folder {path.parent} does not exist; create it"
    except OSError as exc:
        yield f"{path} cannot be used ({exc.strerror})"
