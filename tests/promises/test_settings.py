"""Bad settings are rejected before the first request, all at once, each with its reason."""

import json

import pytest

from tests.support.executables import Outcome, run
from tests.support.singer_lines import lines, orders, schema, state
from tests.support.tap_output import consumed, ids

NO_TOKEN = "contains whitespace, a line break or another character that tokens cannot have"
NO_URL = "is not a URL that begins with https://"
TOPICS = 'an object, such as {"orders": 11}, or a list, such as [{"id": 11}]'
SECRET = "top-secret"


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
        "data_center: must be one of us, eu, jp, sg, au, il, kr, uk, cn, trial",
        "developer_api_token: must be text, in quotes",
        f"developer_api_url: {NO_URL}",
        "legacy_api: must be true or false",
        "max_retry_secs: must be at least 0",
        "quota_url: requires max_requests_per_minute, the quota that all processes share",
        "quota_url: the folder /missing does not exist; create it",
        "request_timeout_secs: must be at most 86400",
        f"topics: must be {TOPICS}",
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


def test_an_expression_that_is_not_python_is_rejected_with_stream_and_property(connector, emulator):
    outcome = connector.run(emulator.url, stream_maps={"orders": {"x": "y("}})
    assert outcome.exit_code == 1
    remedy = "write a Python expression, such as str(id)"
    line = f"stream_maps: orders: x is not an expression ('(' was never closed); {remedy}"
    assert line in logged(outcome, "ERROR")
    assert emulator.requests() == []


def test_a_stream_map_of_no_stream_is_reported_with_the_streams(connector, emulator):
    """The nearest is the first; a glob may match."""
    emulator.create_topic("orders", id=1)
    emulator.create_topic("customers", id=2)
    connector = connector.with_topics(2)
    maps = {"orders2": {}, "order*1": {}, "oders2": {}, "other": {"__source__": "x*"}}
    outcome = connector.run(emulator.url, api_token=emulator.token, stream_maps=maps)
    first, second = [line for line in logged(outcome, "WARNING") if "stream_maps" in line]
    ignored = "matches no stream, ignored; the streams are"
    assert first == f"stream_maps: oders2 {ignored} orders2, orders1"
    assert second.startswith(f"stream_maps: x* {ignored} orders")


REMOVED_FROM_THE_TARGET = {
    "default_topic_id": (14, 'add "*" with this id to topics'),
    "on_rejected": ("dead_letter", "if dead_letter_path is set, rejected messages are written to"),
    "max_batch_bytes": (1000, "the limit is that of the service, 1,048,576 bytes"),
    "validate_records": (False, "the topic's schema decides which messages are valid"),
    "batch_config": ({"encoding": {}}, "since BATCH messages are not supported"),
    "load_method": ("upsert", "records are always appended to a topic"),
}


@pytest.mark.parametrize("setting", REMOVED_FROM_THE_TARGET)
@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_removed_setting_is_one_error_line_that_says_what_to_do_instead(
    emulator, run_target, setting, place
):
    """It comes alone, because other problems may follow from it; an empty value is not set."""
    value, remedy = REMOVED_FROM_THE_TARGET[setting]
    empty = {"validate_records": "", "load_method": None} | {setting: value}
    if place == "file":
        done = run_target(*orders(1), topics=None, max_rejected=-1, **empty)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        done = run_from_environment("target-workato-streams", b"", **{setting: text})
    assert done.exit_code == 1
    [line] = [each for each in logged(done, "ERROR") if each != "Config validation failed"]
    assert line.startswith(f"{setting}: not a setting ")
    assert remedy in line
    assert (logged(done, "WARNING"), emulator.requests()) == ([], [])


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
        request_timeout_secs="9",
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
        batch_size_rows="10",
        max_batch_age_secs="0.5",
        legacy_api="false",
        payload_field="",
        max_rejected="",
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
        "Config validation failed",
        "api_token: is missing; set it to the token of an API client with access to the topics",
        "batch_size: must be a whole number, such as 50",
        "tail: must be true or false",
        f"topics: must be {TOPICS}",
    ]


def test_whole_numbers_may_be_written_as_decimals(emulator, run_tap):
    """2.0 is 2, as YAML and JSON tools write it."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(5)])
    done = run_tap(topics=[topic], batch_size=2.0, max_messages=3.0)
    assert done.exit_code == 0, done.stderr
    assert b'"batch_size":2}' in emulator.requests()[0].body
    assert len(ids(done)) == 3


@pytest.mark.parametrize(("legacy_api", "path"), [(False, "/api/v1/"), (True, "/api/pubsub/")])
def test_the_legacy_api_has_its_own_paths(emulator, run_tap, legacy_api, path):
    topic = emulator.create_topic()
    loaded = emulator.load(topic, [{"n": 1}])
    done = run_tap(topics=[topic], legacy_api=legacy_api)
    assert ids(done) == loaded
    assert {request.path for request in emulator.requests()} == {f"{path}topics/1/consume"}
    assert emulator.requests()[0].headers["authorization"] == f"Bearer {emulator.token}"
