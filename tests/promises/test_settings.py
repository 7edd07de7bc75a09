"""Bad settings are rejected before the first request, all at once, each with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from singer_sdk.exceptions import ConfigValidationError
from tap_workato_streams.event_streams.session import developer_host, messages_host
from tap_workato_streams.tap import TapWorkatoStreams
from target_workato_streams.target import TargetWorkatoStreams

from tests.support.executables import run
from tests.support.singer_lines import orders, schema, state
from tests.support.tap_output import consumed, ids

GOOD = {"api_token": "good-token", "topics": [{"id": 1}]}
TOKENS = {"api_token": "a", "developer_api_token": "b"}
BATCH = {"encoding": {"format": "jsonl"}, "storage": {"root": "file:///tmp"}}
NO_TOKEN = "contains whitespace, a line break or another character that tokens cannot have"
CLEAR_TEXT = "http would send the token in clear text; use https"
NO_URL = "is not a URL that begins with https://"
NO_DATE = "must be RFC 3339 in quotes, such as '2026-01-31T00:00:00Z'"
BOOLEAN_SCHEMA = "the SDK does not support true or false as a schema; write {}"
NO_TOPICS = "topics: list the topics to read, or set developer_api_token to read all of them"

RECURSIVE = "a $ref refers to itself, which the SDK does not support"
REJECTED: list[tuple[dict[str, Any], str]] = [
    ({"max_run_secs": 1e300}, "max_run_secs: must be at most 1000000000"),
    ({"state_interval_secs": 1e300}, "state_interval_secs: must be at most 1000000000"),
    (
        {"topics": [{"id": 1, "schema": {"properties": {"a": {"$ref": "#"}}}}]},
        f"topics[0].schema is not a JSON Schema: {RECURSIVE}",
    ),
    ({"api_token": None}, "'api_token' is a required property"),
    ({"api_token": ""}, "'api_token' is a required property"),
    ({"api_token": 5}, "api_token: must be of type string"),
    ({"api_token": "a b"}, f"api_token: {NO_TOKEN}"),
    ({"api_token": "ab\n"}, f"api_token: {NO_TOKEN}"),
    ({"api_token": "ä"}, f"api_token: {NO_TOKEN}"),
    ({"developer_api_token": ["a"]}, "developer_api_token: must be of type string"),
    ({"developer_api_token": " "}, f"developer_api_token: {NO_TOKEN}"),
    (
        {"data_center": "mars"},
        "data_center: must be one of us, eu, jp, sg, au, trial",
    ),
    ({"api_url": 5}, "api_url: must be of type string"),
    ({"api_url": "example.com"}, f"api_url: {NO_URL}"),
    ({"api_url": "ftp://example.com"}, f"api_url: {NO_URL}"),
    ({"api_url": "https://"}, f"api_url: {NO_URL}"),
    ({"api_url": "https://h:99999"}, f"api_url: {NO_URL}"),
    ({"api_url": "http://example.com"}, f"api_url: {CLEAR_TEXT}"),
    ({"api_url": "HTTP://EXAMPLE.COM"}, f"api_url: {CLEAR_TEXT}"),
    ({"api_url": "http://10.0.0.1"}, f"api_url: {CLEAR_TEXT}"),
    ({"api_url": "http://127.0.0.1.example.com"}, f"api_url: {CLEAR_TEXT}"),
    ({"api_url": "http://localhost.example.com"}, f"api_url: {CLEAR_TEXT}"),
    (
        {"api_url": "https://user:pass@example.com"},
        "api_url: must not contain a user name, password, query or fragment",
    ),
    (
        {"api_url": "https://example.com?a=b"},
        "api_url: must not contain a user name, password, query or fragment",
    ),
    ({"developer_api_url": "http://example.com"}, f"developer_api_url: {CLEAR_TEXT}"),
    ({"developer_api_url": "x"}, f"developer_api_url: {NO_URL}"),
    ({"legacy_api": "maybe"}, "legacy_api: must be of type boolean"),
    (
        {"legacy_api": True, "data_center": "trial"},
        "legacy_api: the trial data center has no legacy domain",
    ),
    ({"max_requests_per_minute": 0}, "max_requests_per_minute: must be at least 1"),
    ({"max_requests_per_minute": 1.5}, "max_requests_per_minute: must be of type integer"),
    (
        {"request_timeout_secs": 0},
        "request_timeout_secs: must be greater than 0",
    ),
    ({"max_retry_secs": -1}, "max_retry_secs: must be at least 0"),
    ({"start_from": "now"}, "start_from: must be one of earliest, latest"),
    ({"start_date": "yesterday"}, f"start_date: {NO_DATE}"),
    ({"start_date": "2026-01-31"}, f"start_date: {NO_DATE}"),
    ({"start_date": "2026-01-31T00:00:00"}, f"start_date: {NO_DATE}"),
    ({"start_date": "2026-13-01T00:00:00Z"}, f"start_date: {NO_DATE}"),
    ({"start_date": 20260131}, "start_date: must be of type string"),
    (
        {"start_date": "2026-01-31T00:00:00Z", "start_from": "latest"},
        "start_from: latest and start_date are mutually exclusive",
    ),
    ({"batch_size": 0}, "batch_size: must be at least 1"),
    ({"batch_size": 51}, "batch_size: must be at most 50"),
    ({"batch_size": True}, "batch_size: must be of type integer"),
    ({"timeout_secs": -1}, "timeout_secs: must be at least 0"),
    ({"timeout_secs": 61}, "timeout_secs: must be at most 60"),
    ({"tail": "maybe"}, "tail: must be of type boolean"),
    (
        {"tail": True, "timeout_secs": 0},
        "timeout_secs: must be at least 1 in tail mode, or idle topics would use up the quota",
    ),
    ({"max_messages": 0}, "max_messages: must be at least 1"),
    ({"max_run_secs": 0}, "max_run_secs: must be greater than 0"),
    (
        {"on_expired_bookmark": "latest"},
        "on_expired_bookmark: must be one of earliest, since_time, fail",
    ),
    ({"infer_schema": 1}, "infer_schema: must be of type boolean"),
    ({"max_parallel_topics": 0}, "max_parallel_topics: must be at least 1"),
    (
        {"state_interval_secs": 0},
        "state_interval_secs: must be greater than 0",
    ),
    ({"topics": None}, NO_TOPICS),
    ({"topics": []}, NO_TOPICS),
    ({"topics": "orders"}, "topics: must be of type array"),
    ({"topics": [11]}, "topics[0]: must be of type object"),
    ({"topics": [{"name": "orders"}]}, "topics[0]: 'id' is a required property"),
    ({"topics": [{"id": 1}, {"id": "two"}]}, "topics[1].id: must be of type integer"),
    (
        {"topics": [{"id": 1, "nam": "orders"}]},
        "topics[0]: Additional properties are not allowed ('nam' was unexpected)",
    ),
    ({"topics": [{"id": 1, "name": ""}]}, "topics[0].name: must not be empty"),
    ({"topics": [{"id": 1, "name": ["a"]}]}, "topics[0].name: must be of type string"),
    (
        {"topics": [{"id": 1}, {"id": 1}]},
        "topics: 2 topics are named topic_1; give each a different name",
    ),
    (
        {"topics": [{"id": 1}, {"id": 2, "name": "topic_1"}]},
        "topics: 2 topics are named topic_1; give each a different name",
    ),
    (
        {"topics": [{"id": 1, "start_from": "now"}]},
        "topics[0].start_from: must be one of earliest, latest",
    ),
    ({"topics": [{"id": 1, "start_date": "x"}]}, f"topics[0].start_date: {NO_DATE}"),
    (
        {"topics": [{"id": 1, "start_date": "2026-01-31T00:00:00Z", "start_from": "latest"}]},
        "topics[0].start_from: latest and start_date are mutually exclusive",
    ),
    ({"topics": [{"id": 1, "schema": 5}]}, "topics[0].schema: must be of type object"),
    (
        {"topics": [{"id": 1, "schema": {"type": "text"}}]},
        "topics[0].schema is not a JSON Schema: 'text' is not valid under any of the given schemas",
    ),
    (
        {"topics": [{"id": 1, "schema": {"properties": {"a": {"$ref": "#/$defs/b"}}}}]},
        "topics[0].schema is not a JSON Schema: /$defs/b does not exist",
    ),
    (
        {"topics": [{"id": 1, "schema": {"properties": {"a": True}}}]},
        f"topics[0].schema is not a JSON Schema: {BOOLEAN_SCHEMA}",
    ),
    (
        {"topics": [{"id": 1, "schema_path": "/none.json"}]},
        "topics[0].schema_path: /none.json is not a file that contains a JSON Schema",
    ),
    (
        {"topics": [{"id": 1, "schema_path": __file__}]},
        f"topics[0].schema_path: {__file__} is not a file that contains a JSON Schema",
    ),
    (
        {"topics": [{"id": 1, "schema_path": __file__, "schema": {"type": "object"}}]},
        "topics[0]: set schema or schema_path, not both",
    ),
    ({"stream_maps": "x"}, "stream_maps: must be of type object"),
    (
        {"tail": True, "batch_config": BATCH},
        "batch_config: cannot be combined with tail, since a batch file needs an end",
    ),
    (
        {"batch_config": BATCH, "stream_maps": {"topic_1": {}}},
        "batch_config: the SDK ignores stream_maps in batch files; remove one of the two",
    ),
    (
        {"batch_config": BATCH, "topics": [{"id": 1, "name": "sales/orders"}]},
        "topics[0].name: must not contain / with batch_config, which names files",
    ),
    (
        {"batch_config": {**BATCH, "encoding": {"format": "parquet"}}},
        "batch_config.encoding.format: must be jsonl",
    ),
    (
        {"batch_config": {**BATCH, "storage": {}}},
        "batch_config.storage.root: set the folder for the files, such as file:///tmp",
    ),
]

CENTERS = ["us", "eu", "jp", "sg", "au", "trial"]


def errors_of(config: dict[str, Any]) -> list[str]:
    try:
        TapWorkatoStreams(config={k: v for k, v in config.items() if v is not None})
    except ConfigValidationError as exc:
        return list(exc.errors)
    return []


@pytest.mark.parametrize(("bad", "reason"), REJECTED, ids=[str(bad) for bad, _ in REJECTED])
def test_a_bad_setting_is_rejected_with_its_reason(bad, reason):
    """One line names this setting and no other."""
    assert errors_of({**GOOD, **bad}) == [reason]


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"api_url": "http://127.0.0.1:8080"},
        {"api_url": "http://localhost"},
        {"api_url": "http://[::1]:8080"},
        {"api_url": "https://example.com/base/"},
        {"start_date": "2026-01-31T00:00:00+02:00"},
        {"max_retry_secs": 0, "timeout_secs": 0, "request_timeout_secs": 0.5},
        {"tail": True},
        {"batch_config": BATCH},
        {"topics": [{"id": 1}, {"id": 1, "name": "again"}]},
    ],
    ids=str,
)
def test_a_good_setting_is_accepted(good):
    """Clear-text http, too, if the host is loopback."""
    assert errors_of({**GOOD, **good}) == []


def test_all_problems_are_reported_at_once_before_the_first_request(emulator, run_tap):
    """One line each, exit code 1, nothing on stdout, and no secret anywhere."""
    run = run_tap(
        api_token="top-secret\n",
        developer_api_token=["top-secret"],
        data_center="mars",
        batch_size=51,
        topics=[{"id": 1, "start_date": "x"}, {"name": "orders"}],
        start_date="yesterday",
        infer_schema=True,
    )

    lines = [line.rsplit(" | ", 1)[1] for line in run.error_lines]
    assert sorted(lines) == sorted(
        [
            f"api_token: {NO_TOKEN}",
            "batch_size: must be at most 50",
            "data_center: must be one of us, eu, jp, sg, au, trial",
            "developer_api_token: must be of type string",
            f"start_date: {NO_DATE}",
            f"topics[0].start_date: {NO_DATE}",
            "topics[1]: 'id' is a required property",
            "Config validation failed",
        ]
    )
    assert (run.exit_code, run.stdout, emulator.requests()) == (1, b"", [])
    assert "top-secret" not in run.stderr
    assert "Traceback" not in run.stderr


def test_an_unknown_setting_is_reported_with_the_most_similar_one(emulator, run_tap):
    """Each has a line without its value, and the run continues."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])
    run = run_tap(topics=[topic], batch_siz="top-secret", zzz=1, stream_maps={})
    assert run.exit_code == 0
    assert ids(run) == loaded
    reported = [line.rsplit(" | ", 1)[1] for line in run.stderr.splitlines() if "WARNING" in line]
    assert reported == [
        "batch_siz: unknown setting, ignored; did you mean batch_size?",
        "zzz: unknown setting, ignored",
    ]
    assert "top-secret" not in run.stderr


@pytest.mark.parametrize("args", [["--discover"], ["--test"]], ids=str)
def test_bad_settings_are_rejected_by_every_command(emulator, run_tap, args):
    """Discovery and tests check them, too."""
    run = run_tap(*args, topics=[1], batch_size=51)

    assert run.exit_code == 1
    assert "batch_size: must be at most 50" in run.stderr
    assert emulator.requests() == []


def test_settings_in_the_environment_are_text(emulator):
    """Numbers, booleans and JSON are parsed; an empty text counts as not set."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": n} for n in range(5)])
    variables = {
        "API_URL": emulator.url,
        "API_TOKEN": emulator.token,
        "TOPICS": json.dumps([{"id": str(topic), "name": "orders"}]),
        "BATCH_SIZE": "2",
        "TIMEOUT_SECS": "",
        "MAX_MESSAGES": "",
        "START_DATE": "",
        "DATA_CENTER": "",
        "LEGACY_API": "True",
        "TAIL": "no",
        "REQUEST_TIMEOUT_SECS": "9.5",
        "MAX_RETRY_SECS": "0",
        "STREAM_MAPS": '{"orders": {"n": "payload.get(\'n\')", "topic_id": "__NULL__"}}',
    }

    done = run(
        "tap-workato-streams",
        "--config",
        "ENV",
        env={f"TAP_WORKATO_STREAMS_{name}": value for name, value in variables.items()},
    )

    assert done.exit_code == 0, done.stderr
    assert ids(done, "orders") == loaded
    assert [record["n"] for record in done.records()] == list(range(5))
    assert "topic_id" not in done.records()[0]
    assert [request["batch_size"] for request in consumed(emulator)] == [2, 2, 2, 2]
    assert "timeout_secs" not in consumed(emulator)[0]
    assert emulator.requests()[0].path == f"/api/pubsub/topics/{topic}/consume"


def test_text_of_the_wrong_type_is_rejected(emulator):
    """All problems are reported at once, also those of settings in the environment."""
    done = run(
        "tap-workato-streams",
        "--config",
        "ENV",
        env={
            "TAP_WORKATO_STREAMS_API_URL": emulator.url,
            "TAP_WORKATO_STREAMS_TOPICS": "[{id: 1}]",
            "TAP_WORKATO_STREAMS_BATCH_SIZE": "many",
            "TAP_WORKATO_STREAMS_TAIL": "maybe",
        },
    )

    assert done.exit_code == 1
    lines = [line.rsplit(" | ", 1)[1] for line in done.error_lines]
    assert sorted(lines) == sorted(
        [
            "'api_token' is a required property",
            "batch_size: must be of type integer",
            "tail: must be of type boolean",
            "topics: must be of type array",
            "Config validation failed",
        ]
    )
    assert emulator.requests() == []


def test_whole_numbers_may_be_written_as_decimals(emulator, tmp_path):
    """2.0 is 2, as YAML and JSON tools write it."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(5)])
    config = tmp_path / "config.json"
    config.write_text(
        f'{{"api_url": "{emulator.url}", "api_token": "{emulator.token}",'
        f' "topics": [{{"id": {topic}}}], "batch_size": 2.0, "max_messages": 3.0}}'
    )

    done = run("tap-workato-streams", "--config", config)

    assert done.exit_code == 0, done.stderr
    assert b'"batch_size":2}' in emulator.requests()[0].body
    assert len(ids(done)) == 3


@pytest.mark.parametrize("center", CENTERS)
def test_each_data_center_has_its_own_hosts(center):
    """Messages, the legacy domain and the Developer API have different hosts (docs/api.md)."""
    place = "" if center == "us" else f"{center}."
    config: dict[str, Any] = {"data_center": center, "legacy_api": False, **TOKENS}
    workspace = "https://www.workato.com" if center == "us" else f"https://app.{place}workato.com"

    assert messages_host(config).url == f"https://event-streams.{place}workato.com"
    assert messages_host({**config, "legacy_api": True}).url == workspace
    assert developer_host(config).url == workspace


def test_a_url_overrides_the_data_center():
    """A slash at its end makes no difference."""
    config: dict[str, Any] = {"data_center": "eu", "legacy_api": False, **TOKENS}
    own = {"api_url": "https://h/base/", "developer_api_url": "https://d//"}

    assert messages_host({**config, **own}).url == "https://h/base"
    assert messages_host({**config, **own, "legacy_api": True}).url == "https://h/base"
    assert developer_host({**config, **own}).url == "https://d"


@pytest.mark.parametrize(
    ("legacy_api", "path"),
    [(False, "/api/v1/topics/1/consume"), (True, "/api/pubsub/topics/1/consume")],
)
def test_the_legacy_api_has_its_own_paths(emulator, run_tap, legacy_api, path):
    """The messages are the same."""
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])

    done = run_tap(topics=[topic], legacy_api=legacy_api)

    assert ids(done) == loaded
    assert {(r.method, r.path, r.status) for r in emulator.requests()} == {("POST", path, 200)}
    assert emulator.requests()[0].headers["authorization"] == f"Bearer {emulator.token}"


NO_ROUTE = {"default_topic_id": None}
PROBLEMS: list[tuple[dict[str, Any], str]] = [
    ({"api_token": None}, "api_token"),
    ({"api_token": ""}, "api_token"),
    ({"data_center": "mars"}, "data_center"),
    (
        {"api_url": "http://event-streams.workato.com"},
        "api_url: http would send the token",
    ),
    ({"api_url": "event-streams.workato.com"}, "api_url"),
    ({"topics": {"orders": "eleven"}}, "topics.orders"),
    ({"topics": ["orders"]}, "topics"),
    (NO_ROUTE, "topics: no stream has a topic"),
    ({"on_unmapped_stream": "ignore"}, "on_unmapped_stream"),
    ({"batch_size_rows": 101}, "batch_size_rows"),
    ({"batch_size_rows": 0}, "batch_size_rows"),
    ({"max_batch_bytes": 1_048_577}, "max_batch_bytes"),
    ({"max_batch_age_secs": -1}, "max_batch_age_secs"),
    ({"max_in_flight": 0}, "max_in_flight"),
    ({"max_in_flight": "many"}, "max_in_flight"),
    ({"on_rejected": "drop"}, "on_rejected"),
    ({"on_rejected": "dead_letter"}, "on_rejected: dead_letter requires dead_letter_path"),
    ({"dead_letter_path": "/no/such/folder/dead.jsonl"}, "dead_letter_path: its folder"),
    ({"dead_letter_path": "/tmp"}, "dead_letter_path: is a folder"),  # noqa: S108
    ({"dead_letter_path": "/dev/null"}, "dead_letter_path: is a device, pipe or socket"),
    ({"max_rejected": -1}, "max_rejected"),
    ({"create_topics": True}, "create_topics: requires developer_api_token"),
    ({"legacy_api": True, "data_center": "trial", "api_url": None}, "legacy_api: the trial"),
    ({"load_method": "upsert"}, "load_method: records can only be appended"),
    ({"max_requests_per_minute": 0}, "max_requests_per_minute"),
    ({"request_timeout_secs": 0}, "request_timeout_secs"),
]


@pytest.mark.parametrize(("settings", "words"), PROBLEMS)
def test_a_bad_setting_is_rejected_with_an_explanation(settings, words):
    """One line names the setting, before anything else is done."""
    config = {"api_token": "token", "default_topic_id": 1, **settings}
    kept = {name: value for name, value in config.items() if value is not None}
    with pytest.raises(ConfigValidationError) as raised:
        TargetWorkatoStreams(config=kept)
    (line,) = raised.value.errors
    assert words in line


def test_all_problems_are_reported_at_once(emulator, run_target):
    """The executable prints a line for each, no traceback, sends no request, and exits with 1."""
    done = run_target(
        api_token=7,
        default_topic_id=None,
        batch_size_rows=1000,
        on_rejected="dead_letter",
        max_in_flight="many",
        create_topics=False,
    )
    assert done.exit_code == 1
    *problems, last = done.error_lines
    assert len(problems) == 5
    assert "Config validation failed" in last
    assert "Traceback" not in done.stderr
    assert emulator.requests() == []


def test_an_unknown_setting_is_logged_with_the_closest_known_one(emulator, topic, run_target):
    """One line names it without its value, and the run continues."""
    outcome = run_target(schema(), *orders(2), batch_size_row="top-secret")
    assert outcome.exit_code == 0
    assert len(emulator.messages(topic)) == 2
    [logged] = [line for line in outcome.stderr.splitlines() if "WARNING" in line]
    assert logged.endswith(
        "batch_size_row: unknown setting, ignored; did you mean batch_size_rows?"
    )
    assert "top-secret" not in outcome.stderr


def test_settings_may_be_strings_from_the_environment(emulator, topic, tmp_path):
    """Meltano passes numbers, booleans and objects as text, and unset ones as empty text."""
    prefix = "TARGET_WORKATO_STREAMS_"
    settings = {
        "API_TOKEN": emulator.token,
        "API_URL": emulator.url,
        "TOPICS": json.dumps({"orders": str(topic)}),
        "DEFAULT_TOPIC_ID": "",
        "BATCH_SIZE_ROWS": "10",
        "MAX_BATCH_AGE_SECS": "0.5",
        "LEGACY_API": "false",
        "VALIDATE_RECORDS": "false",
        "PAYLOAD_FIELD": "",
        "MAX_REJECTED": "",
        "ON_REJECTED": "dead_letter",
        "DEAD_LETTER_PATH": str(tmp_path / "dead.jsonl"),
        "STREAM_MAPS": "",
    }
    done = run(
        "target-workato-streams",
        "--config",
        "ENV",
        stdin=b"\n".join([schema(), *orders(25), state("all")]),
        env={prefix + name: value for name, value in settings.items()},
    )
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 25
    assert len(emulator.requests()) == 3


def test_about_lists_all_settings_and_capabilities():
    """`--about` names the settings of design.md and the capabilities."""
    done = run("target-workato-streams", "--about", "--format", "json")
    about = json.loads(done.stdout)
    names = set(about["settings"]["properties"])
    assert names >= {
        "api_token", "data_center", "api_url", "legacy_api", "max_requests_per_minute",
        "request_timeout_secs", "max_retry_secs", "developer_api_token", "developer_api_url",
        "topics", "default_topic_id", "on_unmapped_stream", "batch_size_rows", "max_batch_bytes",
        "max_batch_age_secs", "max_in_flight", "payload_field", "on_rejected", "dead_letter_path",
        "max_rejected", "message_key_field", "create_topics", "validate_records",
        "add_record_metadata", "stream_maps", "flattening_enabled", "batch_config",
    }  # fmt: skip
    assert about["settings"]["properties"]["validate_records"]["default"] is False
    assert set(about["capabilities"]) >= {"about", "stream-maps", "schema-flattening", "batch"}
