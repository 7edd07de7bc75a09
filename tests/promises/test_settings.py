"""Bad settings are rejected before the first request, all at once, each with its reason."""

import json
from typing import Any

import pytest
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.plugin_base import PluginBase
from tap_workato_streams.event_streams.session import developer_host, messages_host
from tap_workato_streams.tap import TapWorkatoStreams
from target_workato_streams.target import TargetWorkatoStreams

from tests.support.executables import Outcome, run
from tests.support.singer_lines import lines, orders, schema, state
from tests.support.tap_output import consumed, ids

TAP_CONFIG = {"api_token": "good-token", "topics": [{"id": 1}]}
TARGET_CONFIG = {"api_token": "good-token", "default_topic_id": 1}
TOKENS = {"api_token": "a", "developer_api_token": "b"}
NO_TOKEN = "contains whitespace, a line break or another character that tokens cannot have"
CLEAR_TEXT = "http would send the token in clear text; use https"
NO_URL = "is not a URL that begins with https://"
MORE_THAN_A_URL = "must not contain a user name, password, query or fragment"
NO_ADDRESS = "must be host:port, such as 127.0.0.1:9464"
NO_DATE = "must be RFC 3339 in quotes, such as '2026-01-31T00:00:00Z'"
BOTH_STARTS = "start_from: latest and start_date are mutually exclusive"
BOTH = {"start_date": "2026-01-31T00:00:00Z", "start_from": "latest"}
NO_TOPICS = "list the topics to read, or set developer_api_token to read all of them"
SAME_NAME = "2 topics are named topic_1; give each a different name"
NO_SCHEMA = ".schema is not a JSON Schema: "
NO_SCHEMA_FILE = "is not a file that contains a JSON Schema"
NO_FILE = "it must be a regular file, or not exist yet"
NO_ROUTE = "topics: no stream has a topic; set topics, default_topic_id or create_topics"
SECRET = "top-secret"

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
    ("api_token", 5, "must be of type string"),
    ("api_token", "ab\n", NO_TOKEN),
    ("api_token", "ä", NO_TOKEN),
    ("developer_api_token", " ", NO_TOKEN),
    ("api_url", 5, "must be of type string"),
    *[("api_url", url, NO_URL) for url in NO_URLS],
    *[("api_url", url, CLEAR_TEXT) for url in CLEAR_TEXT_URLS],
    ("api_url", "https://user:pass@example.com", MORE_THAN_A_URL),
    ("api_url", "https://example.com?a=b", MORE_THAN_A_URL),
    ("developer_api_url", "http://example.com", CLEAR_TEXT),
    ("max_requests_per_minute", 0, "must be at least 1"),
    ("max_requests_per_minute", 1.5, "must be of type integer"),
    ("request_timeout_secs", 0, "must be greater than 0"),
    ("max_retry_secs", -1, "must be at least 0"),
    *[("metrics_address", address, NO_ADDRESS) for address in NO_ADDRESSES],
    ("start_from", "now", "must be one of earliest, latest"),
    ("start_date", "2026-01-31", NO_DATE),
    ("start_date", "2026-01-31T00:00:00", NO_DATE),
    ("start_date", "2026-13-01T00:00:00Z", NO_DATE),
    ("start_date", 20260131, "must be of type string"),
    ("batch_size", 0, "must be at least 1"),
    ("batch_size", 51, "must be at most 50"),
    ("batch_size", True, "must be of type integer"),
    ("timeout_secs", -1, "must be at least 0"),
    ("timeout_secs", 61, "must be at most 60"),
    ("max_messages", 0, "must be at least 1"),
    ("max_run_secs", 0, "must be greater than 0"),
    ("on_expired_bookmark", "latest", "must be one of earliest, since_time, fail"),
    ("infer_schema", 1, "must be of type boolean"),
    ("max_parallel_topics", 0, "must be at least 1"),
    ("state_interval_secs", 0, "must be greater than 0"),
    ("stream_maps", "x", "must be of type object"),
    ("record_format", "flat", "must be one of nested, unpacked"),
    (
        "schema_evolution",
        "add",
        "must be one of add_columns, add_columns_next_run, rescue, fail, none",
    ),
    ("topics", None, NO_TOPICS),
    ("topics", [], NO_TOPICS),
    ("topics", [{"id": 1}, {"id": 1}], SAME_NAME),
    ("topics", [{"id": 1}, {"id": 2, "name": "topic_1"}], SAME_NAME),
]
# The same for the settings of a topic.
TOPIC_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"id": "two"}, ".id: must be of type integer"),
    ({"nam": "orders"}, ": Additional properties are not allowed ('nam' was unexpected)"),
    ({"name": ""}, ".name: must not be empty"),
    ({"name": ["a"]}, ".name: must be of type string"),
    ({"start_from": "now"}, ".start_from: must be one of earliest, latest"),
    ({"start_date": "x"}, f".start_date: {NO_DATE}"),
    (BOTH, f".{BOTH_STARTS}"),
    ({"schema": 5}, ".schema: must be of type object"),
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
    ({"schema_path": "/none.json"}, f".schema_path: /none.json {NO_SCHEMA_FILE}"),
    ({"schema_path": __file__}, f".schema_path: {__file__} {NO_SCHEMA_FILE}"),
    (
        {"schema_path": __file__, "schema": {"type": "object"}},
        ": set schema or schema_path, not both",
    ),
]
COMBINATIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"batch_config": {"encoding": {}}},
        "batch_config: remove it; batch files could not be written faster than records",
    ),
    ({"api_token": ""}, "'api_token' is a required property"),
    ({"topics": [11]}, "topics[0]: must be of type object"),
    ({"topics": [{"name": "orders"}]}, "topics[0]: 'id' is a required property"),
    (
        {"legacy_api": True, "data_center": "trial"},
        "legacy_api: the trial data center has no legacy domain",
    ),
    (BOTH, BOTH_STARTS),
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
    ("topics", ["orders"], "must be of type object"),
    ("on_unmapped_stream", "ignore", "must be one of fail, skip"),
    ("batch_size_rows", 101, "must be at most 100"),
    ("batch_size_rows", 0, "must be at least 1"),
    ("max_batch_bytes", 1_048_577, "must be at most 1048576"),
    ("max_batch_age_secs", -1, "must be at least 0"),
    ("max_in_flight", 0, "must be at least 1"),
    ("on_rejected", "drop", "must be one of fail, dead_letter"),
    ("on_rejected", "dead_letter", "dead_letter requires dead_letter_path"),
    ("dead_letter_path", "/no/such/folder/dead.jsonl", "its folder does not exist"),
    ("dead_letter_path", "/tmp", f"is a folder; {NO_FILE}"),  # noqa: S108
    ("dead_letter_path", "/dev/null", f"is a device, pipe or socket; {NO_FILE}"),
    ("max_rejected", -1, "must be at least 0"),
    ("create_topics", True, "requires developer_api_token"),
    ("load_method", "upsert", "records can only be appended to a topic; use append-only"),
]
TAP_REJECTED = [
    *[({name: value}, f"{name}: {text}") for name, value, text in TAP_VALUES],
    *[({"topics": [{"id": 1, **topic}]}, f"topics[0]{text}") for topic, text in TOPIC_VALUES],
    *COMBINATIONS,
]
TARGET_REJECTED = [
    *[({name: value}, f"{name}: {text}") for name, value, text in TARGET_VALUES],
    ({"topics": {"orders": "eleven"}}, "topics.orders: must be of type integer"),
    ({"default_topic_id": None}, NO_ROUTE),
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
        {"max_retry_secs": 0, "timeout_secs": 0, "request_timeout_secs": 0.5},
        {"tail": True},
        {"topics": [{"id": 1}, {"id": 1, "name": "again"}]},
    ],
    ids=str,
)
def test_a_good_setting_is_accepted(good):
    """Clear-text http, too, if the host is loopback."""
    assert errors_of(TapWorkatoStreams, {**TAP_CONFIG, **good}) == []


def logged(outcome: Outcome, level: str) -> list[str]:
    """The messages of a level in the log."""
    lines = [line.split(" | ", 3) for line in outcome.stderr.splitlines()]
    return [line[-1] for line in lines if line[1].strip() == level]


def test_all_problems_are_reported_at_once_before_the_first_request(connector, emulator):
    outcome = connector.run(
        emulator.url,
        api_token=f"{SECRET}\n",
        data_center=SECRET,
        developer_api_token=[SECRET],
        developer_api_url="https://*.workato.com",
        legacy_api=SECRET,
        max_retry_secs=-1,
        quota_url="file:///missing/quota.db",
        request_timeout_secs=1e300,
        topics="orders",
    )
    assert sorted(logged(outcome, "ERROR")) == [
        "Config validation failed",
        f"api_token: {NO_TOKEN}",
        "data_center: must be one of us, eu, jp, sg, au, trial",
        "developer_api_token: must be of type string",
        f"developer_api_url: {NO_URL}",
        "legacy_api: must be of type boolean",
        "max_retry_secs: must be at least 0",
        "quota_url: requires max_requests_per_minute, the quota that all processes share",
        "quota_url: the folder /missing does not exist; create it",
        "request_timeout_secs: must be at most 86400",
        f"topics: must be of type {'object' if connector.input else 'array'}",
    ]
    assert (outcome.exit_code, outcome.stdout, emulator.requests()) == (1, b"", [])
    assert SECRET not in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_an_unknown_setting_is_reported_with_the_most_similar_one(connector, emulator):
    emulator.create_topic("orders", id=1)
    settings = {"api_token": emulator.token, "batch_siz": SECRET, "zzz": 1, "stream_maps": {}}
    outcome = connector.run(emulator.url, **settings)
    assert outcome.exit_code == 0
    assert len(emulator.requests()) == 1
    similar = "batch_size_rows" if connector.input else "batch_size"
    assert logged(outcome, "WARNING") == [
        f"batch_siz: unknown setting, ignored; did you mean {similar}?",
        "zzz: unknown setting, ignored",
    ]
    assert SECRET not in outcome.stderr


@pytest.mark.parametrize("args", [["--discover"], ["--test"]], ids=str)
def test_bad_settings_are_rejected_by_every_command(emulator, run_tap, args):
    run = run_tap(*args, topics=[1], batch_size=51)
    assert run.exit_code == 1
    assert "batch_size: must be at most 50" in run.stderr
    assert emulator.requests() == []


def run_from_environment(name: str, stdin: bytes = b"", **settings: str) -> Outcome:
    """Run a connector with settings in the environment, as Meltano does: all are text."""
    prefix = name.replace("-", "_").upper()
    variables = {f"{prefix}_{setting.upper()}": value for setting, value in settings.items()}
    return run(name, "--config", "ENV", stdin=stdin, env=variables)


def test_settings_of_the_tap_in_the_environment_are_text(emulator):
    """Numbers, booleans and JSON are parsed; an empty text counts as not set."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": n} for n in range(5)])
    done = run_from_environment(
        "tap-workato-streams",
        api_url=emulator.url,
        api_token=emulator.token,
        topics=json.dumps([{"id": str(topic), "name": "orders"}]),
        batch_size="2",
        timeout_secs="",
        max_messages="",
        start_date="",
        data_center="",
        legacy_api="True",
        tail="no",
        request_timeout_secs="9.5",
        max_retry_secs="0",
        stream_maps='{"orders": {"n": "payload.get(\'n\')", "topic_id": "__NULL__"}}',
    )
    assert done.exit_code == 0, done.stderr
    assert ids(done, "orders") == loaded
    assert [record["n"] for record in done.records()] == list(range(5))
    assert "topic_id" not in done.records()[0]
    assert [request["batch_size"] for request in consumed(emulator)] == [2, 2, 2, 2]
    assert "timeout_secs" not in consumed(emulator)[0]
    assert emulator.requests()[0].path == f"/api/pubsub/topics/{topic}/consume"


def test_settings_of_the_target_in_the_environment_are_text(emulator, topic, tmp_path):
    """Meltano passes numbers, booleans and objects as text, and unset ones as empty text."""
    done = run_from_environment(
        "target-workato-streams",
        stdin=lines(schema(), *orders(25), state("all")),
        api_url=emulator.url,
        api_token=emulator.token,
        topics=json.dumps({"orders": str(topic)}),
        default_topic_id="",
        batch_size_rows="10",
        max_batch_age_secs="0.5",
        legacy_api="false",
        validate_records="false",
        payload_field="",
        max_rejected="",
        on_rejected="dead_letter",
        dead_letter_path=str(tmp_path / "dead.jsonl"),
        stream_maps="",
    )
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 25
    assert len(emulator.requests()) == 3


def test_text_of_the_wrong_type_is_rejected():
    """All problems are reported at once, also those of settings in the environment."""
    done = run_from_environment(
        "tap-workato-streams", topics="[{id: 1}]", batch_size="many", tail="maybe"
    )
    assert done.exit_code == 1
    assert sorted(logged(done, "ERROR")) == [
        "'api_token' is a required property",
        "Config validation failed",
        "batch_size: must be of type integer",
        "tail: must be of type boolean",
        "topics: must be of type array",
    ]


def test_whole_numbers_may_be_written_as_decimals(emulator, run_tap):
    """2.0 is 2, as YAML and JSON tools write it."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(5)])
    done = run_tap(topics=[topic], batch_size=2.0, max_messages=3.0)
    assert done.exit_code == 0, done.stderr
    assert b'"batch_size":2}' in emulator.requests()[0].body
    assert len(ids(done)) == 3


@pytest.mark.parametrize("center", ["us", "eu", "jp", "sg", "au", "trial"])
def test_each_data_center_has_its_own_hosts(center):
    """Messages, the legacy domain and the Developer API have different hosts (docs/api.md)."""
    place = "" if center == "us" else f"{center}."
    config: dict[str, Any] = {"data_center": center, "legacy_api": False, **TOKENS}
    workspace = "https://www.workato.com" if center == "us" else f"https://app.{place}workato.com"
    assert messages_host(config).url == f"https://event-streams.{place}workato.com"
    assert messages_host({**config, "legacy_api": True}).url == workspace
    assert developer_host(config).url == workspace


def test_a_url_overrides_the_data_center():
    config: dict[str, Any] = {"data_center": "eu", "legacy_api": False, **TOKENS}
    own = {"api_url": "https://h/base/", "developer_api_url": "https://d//"}
    assert messages_host({**config, **own}).url == "https://h/base"
    assert messages_host({**config, **own, "legacy_api": True}).url == "https://h/base"
    assert developer_host({**config, **own}).url == "https://d"


@pytest.mark.parametrize(("legacy_api", "path"), [(False, "/api/v1/"), (True, "/api/pubsub/")])
def test_the_legacy_api_has_its_own_paths(emulator, run_tap, legacy_api, path):
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])
    done = run_tap(topics=[topic], legacy_api=legacy_api)
    assert ids(done) == loaded
    assert {request.path for request in emulator.requests()} == {f"{path}topics/1/consume"}
    assert emulator.requests()[0].headers["authorization"] == f"Bearer {emulator.token}"
