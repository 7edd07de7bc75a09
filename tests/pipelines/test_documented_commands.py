"""Every command in the README and in docs/ works as written, or a comment says why not."""

import json
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from workato_streams_emulator import Emulator

from tests.pipelines.orchestration import installed, lay_out
from tests.support.executables import write_json
from tests.support.singer_lines import lines as singer
from tests.support.singer_lines import record, schema
from tests.tools.console_blocks import NOT_RUN, TIMEOUT_SECS, Reader, blocks_of
from tests.tools.demo import orders
from tests.tools.demo.services import EMPTY_TOPIC_ID, TOPIC_ID, Services, prepare, services
from tests.tools.docs import ROOT, TAP, TARGET

pytestmark = pytest.mark.timeout(600)

README = ROOT / "README.md"
LOAD, PUBLISH = ROOT / "docs" / "load-a-topic.md", ROOT / "docs" / "publishing.md"
PACKAGES = [ROOT / connector.name / "README.md" for connector in (TAP, TARGET)]
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "orchestrate" / "README.md",
    *PACKAGES,
    *sorted((ROOT / "docs").glob("*.md")),
]
# These begin with an empty folder, and need both servers; the others run in one of their projects.
DOORS = {LOAD, PUBLISH}
OPERATIONS = ROOT / "docs" / "operations.md"
FOLLOWED = [
    page
    for page in PAGES
    if page not in {*DOORS, OPERATIONS} and any(block.is_run for block in blocks_of(page))
]
IN_PROJECT_OF_PUBLISH = {"dead-letters.md", "emulator.md", "exactly-once.md"}
# The last part of the page about publishing, which needs the tap, too.
COPY = "## Another topic"
ORDERS = 10
OFFLINE = {
    "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
    "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
}
URLS = ("EVENT_STREAMS_URL", "TAP_WORKATO_STREAMS_API_URL", "TARGET_WORKATO_STREAMS_API_URL")
NEW_PROJECT = "default_environment: dev\nenvironments: [{name: dev}]\n"


def title(page: Path) -> str:
    """Return a test id that distinguishes the READMEs."""
    return f"{page.parent.name}/{page.name}"


def addresses(emulator: Emulator) -> dict[str, str]:
    """The placeholders in commands, and their replacements."""
    hosts = ("https://event-streams.workato.com", "https://www.workato.com")
    urls = dict.fromkeys((*hosts, "http://127.0.0.1:8085"), emulator.url)
    return {**urls, "../workato-streams/": f"{ROOT}/"}


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_blocks_that_are_not_run_say_why(page):
    for block in blocks_of(page):
        assert block.language in {"console", "yaml", "json", "python", "text", "sql", "mermaid"}
        if block.comment.startswith(NOT_RUN):
            assert len(block.comment) > len(NOT_RUN) + 10
            for path in re.findall(r"tests/[\w/.]+", block.comment):
                assert (ROOT / path).exists()


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_commands_are_short_enough_to_be_seen_whole(page):
    """GitHub shows about 115 characters of a line; log lines may be a little longer."""
    for block in blocks_of(page):
        limit = 130 if block.language == "text" else 115
        assert [line for line in block.text.splitlines() if len(line) > limit] == []


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_to_files_of_this_repository(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)\"\s]+)[)\"]", text):
        if link.startswith("https://"):
            continue
        name, _, fragment = link.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), link
        if fragment:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in {
                re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings
            }


def test_the_index_lists_each_page_and_each_page_links_back():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/*.md"):
        if page.name != "README.md":
            assert f"]({page.name})" in index
            assert "(README.md)" in page.read_text(encoding="utf-8"), page.name


def follow_door(page: Path, folder: Path, running: Services, *, before: str = "") -> Reader:
    """Follow a page from an empty folder, up to a text, and compare the log lines."""
    (folder / "workato-streams").symlink_to(ROOT)
    prepare(running.emulator)
    variables = {**running.variables, **OFFLINE}
    reader = Reader(folder, variables, addresses(running.emulator))
    reader.follow(blocks_of(page, before=before))
    # The log lines that a page shows are those of this run, apart from the times.
    times = r"\d+(\.\d)? (s|min)|\d{4}-\d\d-\d\dT[\d:.+]+"
    texts = [block.text for block in blocks_of(page) if block.language == "text"]
    log = [line for text in texts for line in text.splitlines() if re.match(r"\w+ \(topic", line)]
    written = [re.sub(times, "TIME", line) for line in reader.output]
    for line in log:
        expected = re.sub(times, "TIME", line).removesuffix(", ...")
        assert any(expected in each for each in written), (expected, reader.output)
    assert log
    return reader


def test_a_topic_is_loaded_every_day_by_copying_commands(tmp_path):
    """Nothing is published; the printed line of the crontab works in cron's environment."""
    with services() as running:
        reader = follow_door(LOAD, tmp_path, running)
        assert rows_of(running) == orders.ROWS
        running.emulator.load(TOPIC_ID, [{"order_id": "new", "total": 1.10}])
        [line] = [line for line in reader.output if line.startswith("5 6 * * *")]
        cron = {**running.variables, **OFFLINE, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        command = ["/bin/sh", "-c", line.removeprefix("5 6 * * *")]
        subprocess.run(command, cwd="/", env=cron, check=True, timeout=TIMEOUT_SECS)
        assert rows_of(running) == orders.ROWS + 1
        assert not running.emulator.requests(operation="batch")
        reader.follow(blocks_of(OPERATIONS))
        assert rows_of(running) == orders.ROWS + 1
        assert not running.emulator.requests(operation="batch")


def loads(payload: bytes) -> object:
    """Read a payload without rounding numbers."""
    return json.loads(payload, parse_float=Decimal)


def rows_of(running: Services) -> int:
    """Count the rows of the table that the pages load."""
    [(count,)] = running.warehouse.query("SELECT count(*) FROM event_streams.orders")
    return int(count)


def test_a_file_and_a_topic_are_published_by_copying_commands(tmp_path):
    """The copy has the same payloads; the page continues in a project with the tap, too."""
    with services() as running:
        reader = follow_door(PUBLISH, tmp_path, running, before=COPY)
        emulator = running.emulator
        # tap-jsonl writes 1.10 as 1.1.
        lines = orders.FILE.read_text(encoding="utf-8").splitlines()
        assert emulator.payloads(EMPTY_TOPIC_ID) == [json.loads(line) for line in lines]
        emulator.purge(EMPTY_TOPIC_ID)
        reader.follow([block for block in blocks_of(LOAD) if block.language == "yaml"])
        reader.run("meltano install tap-workato-streams")
        reader.follow(blocks_of(PUBLISH, after=COPY))
        copies = [loads(message.payload) for message in emulator.messages(EMPTY_TOPIC_ID)]
        assert copies == [loads(message.payload) for message in emulator.messages(TOPIC_ID)]
        assert len(copies) == orders.ROWS


@pytest.mark.parametrize("page", FOLLOWED, ids=title)
def test_commands_of_a_page_work(page, emulator, tmp_path):
    """The project is the one that the page names, next to the clone, and has the page's topics.

    The project of a package's page is empty: the page copies the definitions from the clone.
    """
    (tmp_path / "workato-streams").symlink_to(ROOT)
    project = tmp_path / "my-project"
    (project / "output").mkdir(parents=True)
    if page in PACKAGES:
        (project / "meltano.yml").write_text(NEW_PROJECT)
    else:
        door = PUBLISH if page.name in IN_PROJECT_OF_PUBLISH else LOAD
        example = next(block.text for block in blocks_of(door) if block.language == "yaml")
        lay_out(project, installed(yaml.safe_load(NEW_PROJECT + example)))
    lines = orders.FILE.read_bytes().splitlines(keepends=True)[:ORDERS]
    (project / "orders.jsonl").write_bytes(b"".join(lines))
    letter = record(**json.loads(lines[0]))
    (project / "dead-letters.singer").write_bytes(singer(schema(keys=()), letter))
    topics: object = {"orders": 12} if page.parent.name == TARGET.name else [{"id": 11}]
    config = {"api_url": emulator.url, "api_token": emulator.token, "topics": topics}
    write_json(project / "config.json", config)
    for topic_id in (11, 12, 13):
        emulator.create_topic(f"topic {topic_id}", id=topic_id)
    emulator.load(11, lines)
    variables = {
        "WORKATO_API_TOKEN": emulator.token,
        "WORKATO_DEVELOPER_TOKEN": emulator.developer_token,
        "TAP_JSONL_PATH": str(project / "orders.jsonl"),
        # The emulator's URL replaces that of the data center.
        **dict.fromkeys(URLS, emulator.url),
        **OFFLINE,
    }
    Reader(project, variables, addresses(emulator)).follow(blocks_of(page))
