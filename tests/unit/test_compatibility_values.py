"""The comparison behind docs/compatibility.md recognizes how a plugin changes values."""

from decimal import Decimal
from typing import Any

import pytest

from tests.tools.matrix import report
from tests.tools.matrix.plugins import PluginFailedError
from tests.tools.matrix.report import Result, by_topic, result_of, summary
from tests.tools.matrix.services import NotInstalledError
from tests.tools.matrix.setting import CONNECTORS
from tests.tools.matrix.values import compare

# A value, what arrived, and the difference, if it is more than one of notation.
VALUES: list[tuple[Any, Any, str | None]] = [
    (Decimal("1.10"), Decimal("1.1"), None),
    ("2026-11-24T12:00:00+01:00", "2026-11-24T11:00:00Z", None),
    ({"a": [1, None]}, {"a": [1, None]}, None),
    (None, None, None),
    (Decimal("1.10"), "1.10", "as text"),
    (12345678901234567890, Decimal(12345678901234567000), "rounded to 53 bits"),
    ("2026-11-24T12:00:00+00:00", "2026-11-24T12:00:00", "without time zone"),
    ("2026-11-24T12:00:00+02:00", "2026-11-24T10:00:00", "without time zone"),
    (
        "2026-11-24T12:00:00+02:00",
        "2026-11-24T12:00:00",
        "`2026-11-24T12:00:00+02:00` becomes `2026-11-24T12:00:00`, without time zone",
    ),
    ("\\x0000ff", "0000ff", "hexadecimal text without `\\x`"),
    ({"a": 1}, '{"a": 1}', "as JSON text"),
    ({"a": 1}, "{'a': 1}", "as Python or PostgreSQL text, not JSON"),
    ("text", None, "`text` becomes `null`"),
    (True, 1, "`true` becomes `1`"),
    ("a", "b", "`a` becomes `b`"),
]


@pytest.mark.parametrize(("sent", "arrived", "difference"), VALUES)
def test_differences_are_described(sent, arrived, difference):
    comparison = compare({"1": {"c": sent}}, {"1": {"c": arrived}}, ["c"])
    assert comparison.complete
    assert comparison.differences == ({"c": difference} if difference else {})


def test_missing_rows_and_columns_are_found():
    comparison = compare({"1": {"c": 1}, "2": {"c": 2}}, {"1": {}}, ["c"])
    assert (comparison.expected, comparison.arrived, comparison.complete) == (2, 1, False)
    assert comparison.differences == {"c": "absent"}


@pytest.mark.parametrize("connector", CONNECTORS)
def test_a_result_is_blamed_on_a_connector_that_loses_a_row_changes_a_value_or_fails(connector):
    lost, changed = Result("x"), Result("x")
    lost.add(connector, compare({"1": {"c": 1}}, {}, ["c"]))
    changed.add(connector, compare({"1": {"c": 1}}, {"1": {"c": 2}}, ["c"]))
    with result_of("x") as failed:
        _fail(PluginFailedError(f"{connector} failed with exit code 1: reason"))
    other = Result("x", lost="another-tap", changes=[("another-tap", "`c`: as text")])
    assert all(each.is_caused_by(CONNECTORS) for each in (lost, changed, failed))
    assert not other.is_caused_by(CONNECTORS)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page with an empty table, one of two pipelines, and text behind it."""
    path = tmp_path / "page.md"
    path.write_text(
        "<!-- mappers: written by `make matrix` -->\n|\n\n"
        "<!-- sources: written by `make matrix` -->\n|\n\ntext\n"
    )
    monkeypatch.setattr(report, "PAGE", path)
    report.write([summary("sources", [Result("a", "1 of 1"), Result("b", "1 of 1")])])
    return path


def test_a_skipped_pipeline_keeps_its_row_and_says_why(page, capsys):
    before = page.read_text()
    assert "| b | 1 of 1 | works |\n\ntext\n" in before
    with result_of("b") as skipped:
        _fail(NotInstalledError("install it"))
    report.write([summary("sources", [Result("a", "1 of 1"), skipped])])
    assert page.read_text() == before
    assert capsys.readouterr().out == "SKIPPED: b: install it\n"


@pytest.mark.usefixtures("page")
def test_newer_versions_are_reported_by_the_rows_that_differ():
    tables = [summary("sources", [Result("a", "0 of 1", lost="a"), Result("b", "1 of 1")])]
    lines = ["| a | 0 of 1 | does not work: a loses rows (0 of 1 arrived) |"]
    assert report.differences(tables) == lines


def test_a_cell_leaves_out_what_the_cell_before_says():
    first = [("load", "`a`: as text")]
    more = [*first, ("load", "keeps all versions of a row")]
    results = [Result("load 1.0, one", changes=first), Result("load 1.0, two", changes=more)]
    assert by_topic("loaders", results).rows == [
        [
            "load 1.0",
            "works with a caveat: `a`: as text",
            "works with a caveat: keeps all versions of a row",
        ]
    ]


def _fail(error: Exception) -> None:
    raise error
