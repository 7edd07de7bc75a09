"""Every command in the README and in docs/ works as written, or a comment says why not."""

import json
import re
from pathlib import Path

import pytest
import yaml
from workato_streams_emulator import Emulator

from tests.pipelines.orchestration import installed, lay_out
from tests.support.executables import write_json
from tests.support.singer_lines import lines as singer
from tests.support.singer_lines import record, schema
from tests.tools.console_blocks import NOT_RUN, Reader, blocks_of
from tests.tools.demo import orders
from tests.tools.demo.services import TOPIC_ID, services
from tests.tools.docs import ROOT, TAP, TARGET

pytestmark = pytest.mark.timeout(600)

README = ROOT / "README.md"
PACKAGES = [ROOT / connector.name / "README.md" for connector in (TAP, TARGET)]
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "orchestrate" / "README.md",
    *PACKAGES,
    *sorted((ROOT / "docs").glob("*.md")),
]
FOLLOWED = [
    page for page in PAGES if page != README and any(block.is_run for block in blocks_of(page))
]
ORDERS = 10
# Some orders have a note, which is a string, so this topic rejects them.
SCHEMAS = {"dead-letters.md": [{"name": "note", "type": "integer", "optional": True}]}
# The page creates its own topic.
WITHOUT_TOPICS = {"emulator.md"}
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
    hosts = ("https://event-streams.eu.workato.com", "https://app.eu.workato.com")
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


def test_readme_leads_from_a_clone_to_rows_in_postgresql(tmp_path):
    """An empty folder, `make services`, and the README's commands and settings are enough."""
    (tmp_path / "workato-streams").symlink_to(ROOT)
    with services() as running:
        mine = {**running.variables, **OFFLINE}
        reader = Reader(tmp_path / "workato-streams", mine, addresses(running.emulator))
        reader.follow(README)
        rows = running.warehouse.query("SELECT count(*) FROM event_streams.orders")
        assert rows == [(orders.ROWS,)]
        assert len(running.emulator.messages(TOPIC_ID)) == orders.ROWS
    # The log lines that the README shows are those of this run, apart from the times.
    times = r"\d+(\.\d)? (s|min)|\d{4}-\d\d-\d\dT[\d:.+]+"
    shown = [block.text for block in blocks_of(README) if block.language == "text"]
    log = [line for text in shown for line in text.splitlines() if "(topic 11)" in line]
    assert len(log) == 2
    written = [re.sub(times, "TIME", line) for line in reader.output]
    for line in log:
        expected = re.sub(times, "TIME", line)
        assert any(each.endswith(expected) for each in written), expected


@pytest.mark.parametrize("page", FOLLOWED, ids=title)
def test_commands_of_a_page_work(page, emulator, database, tmp_path):
    """The project is the one of the README, with a database and the page's topics.

    The project of a package's page is empty: the page copies the definitions from the clone.
    """
    (tmp_path / "workato-streams").symlink_to(ROOT)
    project = tmp_path / "my-project"
    (project / "output").mkdir(parents=True)
    if page in PACKAGES:
        (project / "meltano.yml").write_text(NEW_PROJECT)
    else:
        [example] = [block.text for block in blocks_of(README) if block.language == "yaml"]
        lay_out(project, installed(yaml.safe_load(NEW_PROJECT + example)))
    lines = orders.FILE.read_bytes().splitlines(keepends=True)[:ORDERS]
    (project / "orders.jsonl").write_bytes(b"".join(lines))
    letter = record(**json.loads(lines[0]))
    (project / "dead-letters.singer").write_bytes(singer(schema(keys=()), letter))
    topics: object = {"orders": 12} if page.parent.name == TARGET.name else [{"id": 11}]
    config = {"api_url": emulator.url, "api_token": emulator.token, "topics": topics}
    write_json(project / "config.json", config)
    if page.name not in WITHOUT_TOPICS:
        for topic_id in (11, 12, 13):
            emulator.create_topic(f"topic {topic_id}", id=topic_id, schema=SCHEMAS.get(page.name))
        emulator.load(11, lines)
    variables = {
        "WORKATO_API_TOKEN": emulator.token,
        "WORKATO_DEVELOPER_TOKEN": emulator.developer_token,
        "WAREHOUSE_URL": database.url,
        "TAP_JSONL_PATH": str(project / "orders.jsonl"),
        # The emulator's URL replaces that of the data center.
        **dict.fromkeys(URLS, emulator.url),
        **OFFLINE,
    }
    Reader(project, variables, addresses(emulator)).follow(page)
