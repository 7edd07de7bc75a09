"""Which values of settings are bad, with the reason of each, and what a value stands for."""

import logging
from importlib.metadata import metadata
from types import SimpleNamespace
from typing import Any

import prometheus_client
import pytest
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.plugin_base import PluginBase
from tap_workato_streams.event_streams.session import developer_host, messages_host
from tap_workato_streams.plugin import problems as problems_module
from tap_workato_streams.plugin.monitoring import serve_metrics
from tap_workato_streams.plugin.problems import problems
from tap_workato_streams.tap import TapWorkatoStreams
from target_workato_streams.target import TargetWorkatoStreams

from tests.tools.docs import TAP, TARGET

TAP_CONFIG = {"api_token": "good-token", "topics": [{"id": 1}]}
TARGET_CONFIG = {"api_token": "good-token", "topics": {"*": 1}}
TOKENS = {"api_token": "a", "developer_api_token": "b"}
NO_TOKEN = "contains whitespace, a line break or another character that tokens cannot have"
CLEAR_TEXT = "http would send the token in clear text; use https"
NO_URL = "is not a URL that begins with https://"
MORE_THAN_A_URL = "must not contain a user name, password, query or fragment"
NO_ADDRESS = "must be host:port, such as 127.0.0.1:9464"
NO_DATE = "must be a date or time, such as 2026-01-31T00:00:00Z"
BOTH_STARTS = "start_from: latest and start_date are mutually exclusive"
BOTH = {"start_date": "2026-01-31T00:00:00Z", "start_from": "latest"}
NO_TOPICS = "list the topics to read, or set developer_api_token to read all of them"
NULL = "source code string cannot contain null bytes"
WRITE_PYTHON = "write a Python expression, such as str(id)"
SAME_NAME = "2 topics are named topic_1; give each a different name"
NO_SCHEMA = ".schema is not a JSON Schema: "
NO_SCHEMA_FILE = "is not a file that contains a JSON Schema"
REMOVED = "not a setting any more; remove it: "
NO_BATCH_FILES = (
    "not a setting of this tap; remove it: batch files could not be written faster than records"
)
INFERRED = (
    "the schema is inferred if records are unpacked or flattened, and nested records need none"
)
UNEXPECTED = "unknown key start_date; write one of id"
ID = "a whole number, such as 11, or text, in quotes"
NO_ID = (
    "is missing; set it to the topic id or, with `developer_api_token`, the topic's title in "
    "Workato"
)
ID_ONLY = 'such as {"id": 11}'
TOPICS = 'an object, such as {"orders": 11}, or a list, such as [{"id": 11}]'
A_TITLE = "is a title; set developer_api_token, or write the id"
NO_PATTERN = (
    "a topic cannot be named after a pattern, because each topic is a stream; give each topic its "
    "own name (only the target has patterns)"
)
NO_COLUMNS = (
    "nested records have no columns but message_id for a key; set record_format to unpacked"
)
NO_FILE = "it must be a regular file, or not exist yet"
NO_ROUTE = "topics: no stream has a topic; set topics or create_topics"
NO_URLS = [
    *("example.com", "ftp://example.com", "https://", "https://h:99999", "https://[::1"),
    *("https://*.workato.com", "https://a..b", "https://a b.com", "https://a.com\n"),
    f"https://{'a' * 64}.com",
]


CLEAR_TEXT_URLS = [
    *("HTTP://EXAMPLE.COM", "http://10.0.0.1"),
    *("http://127.0.0.1.example.com", "http://localhost.example.com"),
]


URLS = [
    *("http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080"),
    *("https://h", "https://a_b.c-d.:8/p/", "https://[::1]"),
]


NO_ADDRESSES = ["9464", ":9464", "localhost", "localhost:http", "a:70000", "a..b:1"]


# A setting of the tap, a bad value, and what is wrong with it.
TAP_VALUES: list[tuple[str, Any, str]] = [
    ("api_token", 5, "must be text, in quotes"),
    ("api_token", "ab\n", NO_TOKEN),
    ("api_token", "ä", NO_TOKEN),
    ("developer_api_token", " ", NO_TOKEN),
    ("api_url", 5, "must be text, in quotes"),
    *[("api_url", url, NO_URL) for url in NO_URLS],
    *[("api_url", url, CLEAR_TEXT) for url in CLEAR_TEXT_URLS],
    ("api_url", "https://user:pass@example.com", MORE_THAN_A_URL),
    ("api_url", "https://example.com?a=b", MORE_THAN_A_URL),
    ("developer_api_url", "http://example.com", CLEAR_TEXT),
    ("max_requests_per_minute", 0, "must be at least 1"),
    ("max_requests_per_minute", 1.5, "must be a whole number, such as 1"),
    ("request_timeout_secs", 0, "must be at least 1"),
    ("max_retry_secs", -1, "must be at least 0"),
    *[("metrics_address", address, NO_ADDRESS) for address in NO_ADDRESSES],
    ("start_from", "now", "must be one of earliest, latest"),
    ("start_date", "3 days ago", NO_DATE),
    ("start_date", "2026-02-29", NO_DATE),
    ("start_date", "2026-13-01T00:00:00Z", NO_DATE),
    ("start_date", 20260131, "must be text, in quotes"),
    ("batch_size", 0, "must be at least 1"),
    ("batch_size", 51, "must be at most 50"),
    ("batch_size", True, "must be a whole number, such as 50"),
    ("timeout_secs", -1, "must be at least 0"),
    ("timeout_secs", 61, "must be at most 60"),
    ("max_messages", 0, "must be at least 1"),
    ("max_run_secs", 0, "must be at least 1"),
    ("on_expired_bookmark", "latest", "must be one of earliest, since_time, fail"),
    ("infer_schema", True, f"{REMOVED}{INFERRED}"),
    ("state_interval_secs", 5, f"{REMOVED}a changed state is emitted within 5 seconds"),
    ("max_parallel_topics", 0, "must be at least 1"),
    ("stream_maps", "x", 'must be an object, such as {"orders": {}}'),
    ("record_format", "flat", "must be one of nested, unpacked"),
    (
        "schema_evolution",
        "add",
        "must be one of add_columns, add_columns_next_run, rescue, fail, none",
    ),
    ("max_retry_secs", "long", "must be a whole number, such as 300"),
    ("topics", "orders", f"must be {TOPICS}"),
    ("topics", None, NO_TOPICS),
    ("topics", [], NO_TOPICS),
    ("topics", [{"id": 1}, {"id": 1}], SAME_NAME),
    ("topics", [{"id": 1}, {"id": 2, "name": "topic_1"}], SAME_NAME),
]


SCHEMA_FIRST = "start_date, end_date, key_properties, start_from, name, id"
OTHER_KEYS = "end_date, start_from, schema, start_date, key_properties, id"
# The same for the settings of a topic.
TOPIC_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"id": "two"}, f": two {A_TITLE}"),
    ({"id": ""}, ".id: must not be empty"),
    ({"id": 1.5}, f".id: must be {ID}"),
    ({"name": "orders_*"}, f": {NO_PATTERN}"),
    ({"key_properties": ["order_id"]}, f".key_properties: {NO_COLUMNS}"),
    ({"nam": "orders"}, f": unknown key nam; write one of name, {OTHER_KEYS}"),
    ({"name": ""}, ".name: must not be empty"),
    ({"name": ["a"]}, ".name: must be text, in quotes"),
    ({"start_from": "now"}, ".start_from: must be one of earliest, latest"),
    ({"start_date": "x"}, f".start_date: {NO_DATE}"),
    (BOTH, f".{BOTH_STARTS}"),
    ({"schema": 5}, ".schema: must be an object, or text, in quotes"),
    (
        {"schema": {"type": "text"}},
        f"{NO_SCHEMA}'text' is not valid under any of the given schemas",
    ),
    ({"schema": {"items": {"$ref": "#/$defs/b"}}}, f"{NO_SCHEMA}/$defs/b does not exist"),
    (
        {"schema": {"properties": {"a": {"$ref": "#"}}}},
        f"{NO_SCHEMA}a $ref refers to itself, which the SDK does not support",
    ),
    (
        {"schema": {"properties": {"a": True}}},
        f"{NO_SCHEMA}the SDK does not support true or false as a schema; write {{}}",
    ),
    ({"schema": "/none.json"}, f".schema: /none.json {NO_SCHEMA_FILE}"),
    ({"schema": __file__}, f".schema: {__file__} {NO_SCHEMA_FILE}"),
    ({"schema_path": __file__}, f": unknown key schema_path; write one of schema, {SCHEMA_FIRST}"),
]


COMBINATIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"batch_config": {"encoding": {}}},
        f"batch_config: {NO_BATCH_FILES}",
    ),
    (
        {"api_token": ""},
        "api_token: is missing; set it to the token of an API client with access to the topics",
    ),
    ({"topics": [11]}, 'topics[0]: must be an object, such as {"id": 11}'),
    ({"topics": [{"name": "orders"}]}, f"topics[0].id: {NO_ID}"),
    *[
        (
            {"legacy_api": True, "data_center": center},
            f"legacy_api: the data center {center} has no legacy domain",
        )
        for center in ("il", "kr", "uk", "cn", "trial")
    ],
    ({"topics": "orders"}, f"topics: must be {TOPICS}"),
    ({"topics": {"orders": True}}, f"topics.orders: must be {ID}, or an object, {ID_ONLY}"),
    ({"topics": {"orders": ""}}, "topics.orders: must not be empty"),
    ({"topics": {"orders": "Orders"}}, f"topics.orders: Orders {A_TITLE}"),
    ({"topics": {"orders": {}}}, f"topics.orders.id: {NO_ID}"),
    ({"topics": {"orders_*": 11}}, f"topics.orders_*: {NO_PATTERN}"),
    ({"topics": {"orders": {"id": 1, **BOTH}}}, f"topics.orders.{BOTH_STARTS}"),
    (BOTH, BOTH_STARTS),
    (
        {"stream_maps": {"orders": {"id": "id", "x": "y("}}},
        f"stream_maps: orders: x is not an expression ('(' was never closed); {WRITE_PYTHON}",
    ),
    (
        {"stream_maps": {"o": {"__filter__": "", "__alias__": "a b", "x": "__NULL__"}}},
        f"stream_maps: o: __filter__ is not an expression (it is empty); {WRITE_PYTHON}",
    ),
    (
        {"stream_maps": {"o": {"x": "a\0b"}}},
        f"stream_maps: o: x is not an expression ({NULL}); {WRITE_PYTHON}",
    ),
    (
        {"tail": True, "timeout_secs": 0},
        "timeout_secs: must be at least 1 in tail mode, or idle topics would use up the quota",
    ),
    (
        {"flattening_enabled": True, "flattening_max_depth": 0},
        "flattening_max_depth: must be at least 1; or unset flattening_enabled",
    ),
]


TARGET_VALUES: list[tuple[str, Any, str]] = [
    ("topics", "orders", f"must be {TOPICS}"),
    (
        "topics",
        [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}],
        "2 topics are named a; give each a different name",
    ),
    ("on_unmapped_stream", "ignore", "must be one of fail, skip"),
    ("batch_size_rows", 101, "must be at most 100"),
    ("batch_size_rows", 0, "must be at least 1"),
    ("max_batch_age_secs", -1, "must be at least 0"),
    ("max_in_flight", 0, "must be at least 1"),
    ("dead_letter_path", "/no/such/folder/dead.jsonl", "its folder does not exist"),
    ("dead_letter_path", "/tmp", f"is a folder; {NO_FILE}"),  # noqa: S108
    ("dead_letter_path", "/dev/null", f"is a device, pipe or socket; {NO_FILE}"),
    ("max_rejected", -1, "must be at least 0"),
    ("create_topics", True, "requires developer_api_token"),
]


TAP_REJECTED = [
    *[({name: value}, f"{name}: {text}") for name, value, text in TAP_VALUES],
    *[({"topics": [{"id": 1, **topic}]}, f"topics[0]{text}") for topic, text in TOPIC_VALUES],
    *COMBINATIONS,
]


TARGET_REJECTED = [
    *[({name: value}, f"{name}: {text}") for name, value, text in TARGET_VALUES],
    ({"topics": {"orders": "eleven"}}, f"topics.orders: eleven {A_TITLE}"),
    ({"topics": {"orders": {"id": 1, "start_date": "2026-01-31"}}}, f"topics.orders: {UNEXPECTED}"),
    ({"topics": ["orders"]}, 'topics[0]: must be an object, such as {"id": 11}'),
    ({"topics": [{"id": 1}]}, "topics[0].name: is missing; set it to the stream name or glob"),
    ({"topics": None}, NO_ROUTE),
]


REJECTED = [
    *[(TapWorkatoStreams, TAP_CONFIG, *row) for row in TAP_REJECTED],
    *[(TargetWorkatoStreams, TARGET_CONFIG, *row) for row in TARGET_REJECTED],
]


def errors_of(plugin: type[PluginBase], config: dict[str, Any]) -> list[str]:
    try:
        plugin(config={name: value for name, value in config.items() if value is not None})
    except ConfigValidationError as exc:
        return list(exc.errors)
    return []


@pytest.mark.parametrize(("plugin", "good", "bad", "line"), REJECTED)
def test_a_bad_setting_is_rejected_with_its_reason(plugin, good, bad, line):
    assert errors_of(plugin, {**good, **bad}) == [line]


@pytest.mark.parametrize(
    "good",
    [
        {},
        *[{"api_url": url} for url in URLS],
        *[{"metrics_address": it} for it in ("127.0.0.1:9464", "localhost:1", "[::1]:9464")],
        {"start_date": "2026-01-31T00:00:00+02:00"},
        {"start_date": "2026-01-31", "end_date": "2026-01-31T00:00:01"},
        {"start_date": "2026-12-04 11:00:16.640684"},
        {"topics": {"orders": 1, "refunds": {"id": "2", "end_date": "2026-01-31"}}},
        {"topics": '{"orders": "1"}'},
        {"topics": {"orders": "Orders"}, "developer_api_token": "b"},
        {"topics": {"a": {"id": 1, "key_properties": ["n"]}}, "record_format": "unpacked"},
        {"max_retry_secs": 0, "timeout_secs": 0, "request_timeout_secs": 1},
        {"tail": True},
        {"topics": [{"id": 1}, {"id": 1, "name": "again"}]},
    ],
    ids=str,
)
def test_a_good_setting_is_accepted(good):
    """Clear-text http, too, if the host is loopback."""
    assert errors_of(TapWorkatoStreams, {**TAP_CONFIG, **good}) == []


@pytest.mark.parametrize("center", ["us", "eu", "jp", "sg", "au", "il", "kr", "uk", "cn", "trial"])
def test_each_data_center_has_its_own_hosts(center):
    """Messages, the legacy domain and the Developer API have different hosts (docs/api.md)."""
    domain = {"us": "workato.com", "cn": "workatoapp.cn"}.get(center, f"{center}.workato.com")
    config: dict[str, Any] = {"data_center": center, "legacy_api": False, **TOKENS}
    workspace = f"https://{'www' if center == 'us' else 'app'}.{domain}"
    assert messages_host(config).url == f"https://event-streams.{domain}"
    assert messages_host({**config, "legacy_api": True}).url == workspace
    assert developer_host(config).url == workspace


def test_a_url_overrides_the_data_center():
    config: dict[str, Any] = {"data_center": "eu", "legacy_api": False, **TOKENS}
    own = {"api_url": "https://h/base/", "developer_api_url": "https://d//"}
    assert messages_host({**config, **own}).url == "https://h/base"
    assert messages_host({**config, **own, "legacy_api": True}).url == "https://h/base"
    assert developer_host({**config, **own}).url == "https://d"


EXTRAS = {"faker", "metrics", "postgres", "redis"}


@pytest.mark.parametrize("connector", [TAP, TARGET])
def test_extras_of_both_connectors(connector):
    """Each optional library has an extra."""
    assert {*(metadata(connector.name).get_all("Provides-Extra") or ())} == EXTRAS


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"metrics_address": "127.0.0.1:9464"}, "metrics_address: needs the extra metrics"),
        ({"quota_url": "redis://localhost"}, "quota_url: redis:// needs the extra redis"),
        ({"quota_url": "rediss://localhost"}, "quota_url: rediss:// needs the extra redis"),
        ({"quota_url": "postgresql://host"}, "quota_url: postgresql:// needs the extra postgres"),
        ({"quota_url": "file:///tmp/quota.db"}, ""),
    ],
)
def test_an_extra_that_the_tests_have_installed(settings, line, monkeypatch):
    """Metrics and the servers of a shared quota need a library; a file does not."""
    monkeypatch.setattr(problems_module, "find_spec", lambda _: None)
    config = {"max_requests_per_minute": 60, **settings}
    extra = line.rpartition(" ")[2]
    install = f"add [{extra}] to the pip_url of tap-workato-streams and run meltano install"
    expected = [f"{line}; {install}"] if line else []
    assert problems(config, {"properties": {}}) == expected


def test_the_url_of_an_ipv6_address_is_valid(monkeypatch, caplog):
    """The address has brackets, because it is followed by the port."""
    server = SimpleNamespace(server_port=9464)
    monkeypatch.setattr(prometheus_client, "start_http_server", lambda *_: (server, None))
    with caplog.at_level(logging.INFO):
        serve_metrics("[::1]:0", list)
    assert caplog.messages == ["metrics are served at http://[::1]:9464/metrics"]
