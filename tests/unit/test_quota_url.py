"""`quota_url` is validated before the store is opened, and its password is redacted."""

from pathlib import Path

import pytest
from tap_workato_streams.event_streams.quota import StoreUrl, store_url_problems

SECRET = "s3cret"


@pytest.mark.parametrize(
    "url",
    [
        "file:///tmp/quota.db",
        "file://localhost/tmp/quota.db?name=sales",
        "redis://localhost",
        f"redis://user:{SECRET}@localhost:6379/1?name=sales-2",
        f"rediss://:{SECRET}@cache.example.com:6380",
        f"postgresql://user:{SECRET}@db.example.com/meltano?sslmode=require",
        "postgresql:///meltano?host=/var/run/postgresql",
    ],
)
def test_a_valid_url_is_accepted(url):
    assert list(store_url_problems(url)) == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must begin with"),
        (f"mysql://user:{SECRET}@host/db", "must begin with"),
        (f"redis://user:{SECRET}@host:{SECRET}", "not a valid URL"),
        (f"redis://:{SECRET}@[::1", "not a valid URL"),
        (f"redis://:{SECRET}@/0", "must contain the host, such as redis://localhost:6379/0"),
        ("file://quota.db", "absolute path"),
        ("file:quota.db", "absolute path"),
        ("file:///", "absolute path"),
        ("file:///tmp", "/tmp is a folder; add the name of a file"),  # noqa: S108
        ("file:///tmp/missing/quota.db", "the folder /tmp/missing does not exist"),
        ("redis://localhost?name=Sales", "name must be 1 to 32 lower-case letters"),
        ("redis://localhost?name=a'b", "name must be 1 to 32 lower-case letters"),
    ],
)
def test_an_invalid_url_is_explained(url, problem):
    [line] = store_url_problems(url)
    assert problem in line
    assert SECRET not in line


def test_a_url_is_parsed():
    """The parameter `name` is removed; all others are passed to the store's library."""
    url = StoreUrl.parse(
        f"postgresql://me:{SECRET}@db/meltano?sslmode=require&name=sales&application_name=el"
    )
    assert url.name == "sales"
    assert url.address == (
        f"postgresql://me:{SECRET}@db/meltano?sslmode=require&application_name=el"
    )
    options = "postgresql://db/meltano?options=-c%20search_path%3Dstreams"
    assert StoreUrl.parse(options).address == options
    assert StoreUrl.parse("redis://cache").name == "workato_streams"
    assert StoreUrl.parse("file:///tmp/my%20quota.db?name=a").path == Path("/tmp/my quota.db")  # noqa: S108


def test_passwords_are_redacted():
    url = StoreUrl.parse("redis://me:p%40ss@cache:6379/0?name=a&sentinel_password=0ther")
    assert str(url) == "redis://cache:6379/0"
    assert "p%40ss" not in repr(url)
    assert url.redact("wrong: p@ss, p%40ss, 0ther") == "wrong: ***, ***, ***"
