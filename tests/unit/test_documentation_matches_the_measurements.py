"""The figures that the documentation quotes are those of the measurements."""

import re

import pytest
from tap_workato_streams.event_streams.http import MAX_RESPONSE_BYTES
from tap_workato_streams.records.evolution import MAX_COLUMNS
from target_workato_streams.publishing.batches import MAX_BODY_BYTES

from tests.tools.benchmarks.report import RESULTS
from tests.tools.definitions import PYTHONS
from tests.tools.docs import ROOT, TAP, TARGET

READ = TAP.settings["properties"]["batch_size"]["maximum"]
PUBLISHED = TARGET.settings["properties"]["batch_size_rows"]["maximum"]


def page(name: str) -> str:
    """Return the text of a page with single spaces."""
    return re.sub(r"\s+", " ", (ROOT / name).read_text(encoding="utf-8"))


def quoted(name: str, pattern: str) -> list[float]:
    """Return the numbers in the groups of a pattern, which has to be on the page."""
    found = re.search(pattern, page(name))
    assert found, f"{name} lacks {pattern}"
    return [float(number.replace(",", "")) for number in found.groups()]


def measured(section: str, row: str, column: str) -> float:
    """Return a number of RESULTS.md."""
    text = RESULTS.read_text(encoding="utf-8").partition(f"## {section}\n")[2]
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    [cells] = [cells for cells in rows if cells[1] == row]
    return float(cells[head.index(column)].replace(",", ""))


OURS = [
    ("The tap, 0 ms latency", "tap-workato-streams"),
    ("The target, 0 ms latency", "target-workato-streams"),
]


@pytest.mark.parametrize(("section", "connector"), OURS)
def test_speed_and_memory(section, connector):
    [speed] = quoted("docs/quotas.md", r"more than ([\d,]+) messages of 500 bytes per second")
    assert speed <= measured(section, connector, "records per second") < 2 * speed
    [memory] = quoted("docs/quotas.md", r"about (\d+) MB of memory")
    assert round(measured(section, connector, "peak MB"), -1) == memory


def test_batches_in_flight():
    text = RESULTS.read_text(encoding="utf-8")
    [ratio] = re.findall(r"four in flight relative to one: ([\d.]+)x", text)
    assert round(float(ratio)) == 4
    assert "about four times as fast" in page("docs/quotas.md")


@pytest.mark.parametrize("rows", ["5", "100", "1,000", "10,000"])
def test_batches_of_hot_rows(rows):
    pattern = rf"([\d.]+)(?: records per request)? with\s+{rows}\b"
    [records] = quoted("docs/exactly-once.md", pattern)
    found = measured("Exactly once: hot rows", rows, "records per request")
    assert found == pytest.approx(records, rel=0.05)


def test_latency_of_tail_mode():
    assert "within milliseconds" in page("docs/operations.md")
    assert measured("The tail", "tap-workato-streams", "95% within ms") < 10


@pytest.mark.parametrize("quota", [60, 300, 600])
def test_messages_per_minute(quota):
    """The table in quotas.md follows from the messages per request."""
    row = rf"\| {quota}[^|]*\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (\d+) \|"
    # 100 messages are mirrored in 3 requests, and a long poll takes 45 of 60 seconds.
    mirrored, idle = quota / 3 * 100, quota * 45 / 60
    numbers = quoted("docs/quotas.md", row)
    assert numbers == [quota * READ, quota * PUBLISHED, mirrored, idle]


def test_default_quota():
    pattern = r"default of (\d+) requests .*? at most ([\d,]+) or publish at most ([\d,]+) messages"
    assert quoted("README.md", pattern) == [60, 60 * READ, 60 * PUBLISHED]


def test_versions():
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in page("README.md")
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in page("docs/limits.md")


def test_limits():
    assert quoted("docs/limits.md", r"(\d+) read, (\d+) published") == [READ, PUBLISHED]
    assert quoted("docs/limits.md", r"Size of a request \| ([\d,]+) bytes") == [MAX_BODY_BYTES]
    assert quoted("docs/limits.md", r"Columns \| ([\d,]+) per stream") == [MAX_COLUMNS]
    assert quoted("docs/limits.md", r"Size of a response \| (\d+) MB") == [MAX_RESPONSE_BYTES >> 20]
