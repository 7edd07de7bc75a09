"""Round trips: a PostgreSQL table into a topic, and the topic into another table."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from tests.tools.matrix.plugins import Plugin
from tests.tools.matrix.postgres import EXTRACTORS, LOADERS, read_table, schema_of
from tests.tools.matrix.report import Result, Table, result_of
from tests.tools.matrix.setting import CONNECTORS, FORMATS, Case, Setting, records_of
from tests.tools.matrix.values import Comparison, Row, Rows, by_key, compare, decode

TYPES = {
    "id": "bigint PRIMARY KEY",
    "amount": "numeric(38,10)",
    "at": "timestamptz",
    "day": "date",
    "doc": "jsonb",
    "numbers": "bigint[]",
    "tags": "text[]",
    "raw": "bytea",
    "big": "bigint",
    "ratio": "double precision",
    "paid": "boolean",
    "uid": "uuid",
    "note": "text",
}
# Generated rows, a row of nulls, and two rows at the limits of the types.
FILL = """
INSERT INTO {schema}.things
SELECT n, n * 1.0000000001, '2026-11-24 12:00:00.123456+01'::timestamptz + n * interval '1 hour',
  date '2026-11-24' + n::int,
  jsonb_build_object('n', n, 'price', 1.10, 'name', 'Zoë 🎁', 'list', jsonb_build_array(1, null)),
  ARRAY[n, n * 2], ARRAY['a ' || n, 'b,"c"', NULL], decode(lpad(to_hex(n), 8, '0'), 'hex'),
  n * 1000003, n / 7.0, n % 2 = 0, md5(n::text)::uuid, 'row ' || n
FROM generate_series(1, 300) n;
INSERT INTO {schema}.things (id) VALUES (1001);
INSERT INTO {schema}.things VALUES
 (1002, 1234567890123456789012345678.0123456789, '2026-03-29 01:59:59.999999+00', '0001-01-01',
  '{{"deep": {{"big": 12345678901234567890.123}}, "e": "\\u00e9", "n": null}}',
  ARRAY[9223372036854775807], '{{}}', '\\x0000ff', 9223372036854775807, 1e-300, true,
  '00000000-0000-0000-0000-000000000000', 'quote '' " \\ tab\t and line\nbreak'),
 (1003, -0.0000000001, '1969-12-31 23:59:59+14', '9999-12-31', '[]', '{{}}', ARRAY[''], '\\x',
  -9223372036854775808, -0.1, false, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '');
"""


def run(setting: Setting) -> tuple[list[Result], Table]:
    """Load the table with each tap into a topic, and each topic with each loader."""
    results: list[Result] = []
    changes: dict[str, dict[str, str]] = {}
    for extractor in EXTRACTORS:
        case = setting.case(f"things-{extractor.folder.name}")
        _create(case)
        for loader, record_format in product(LOADERS, FORMATS):
            ours = f"{CONNECTORS[1]} → {CONNECTORS[0]} ({record_format})"
            with result_of(f"{extractor} → {ours} → {loader}") as result:
                _run(case, (extractor, loader, record_format), result, changes)
            results.append(result)
    return results, _table(results, changes)


def _run(
    case: Case,
    pipeline: tuple[Plugin, Plugin, str],
    result: Result,
    changes: dict[str, dict[str, str]],
) -> None:
    """Compare the rows after each stage, so that each difference has one cause."""
    extractor, loader, record_format = pipeline

    def add(plugin: str, comparison: Comparison, shown: str) -> None:
        result.add(plugin, comparison)
        changes.setdefault(shown, {}).update(comparison.differences)

    rows = by_key(read_table(case, "things"), "id")
    config = EXTRACTORS[extractor](case)
    catalog = case.catalog(extractor, config)
    messages = case.extract(extractor, config, "--catalog", catalog)
    extracted = records_of(messages)
    add(extractor.distribution, compare(rows, extracted, TYPES), str(extractor))
    # The other pipelines read the same topic.
    published = case.payloads("id") or case.publish(messages)
    add(CONNECTORS[1], compare(extracted, published, TYPES), CONNECTORS[1])
    behind = case.inner(f"{case.folder.name}-{loader.folder.name}-{record_format}")
    topic = behind.consume(**FORMATS[record_format])
    read = _payloads(records_of(topic).values())
    add(CONNECTORS[0], compare(published, read, TYPES), f"{CONNECTORS[0]}, {record_format}")
    behind.load(loader, LOADERS[loader](behind), topic)
    loaded = _payloads(read_table(behind))
    add(loader.distribution, compare(read, loaded, TYPES), f"{loader}, {record_format}")


def _payloads(records: Iterable[Row]) -> Rows:
    """Return the payloads of records in either format; jsonb values may be strings."""
    return by_key(map(_payload, records), "id")


def _payload(record: Row) -> Row:
    if "payload" in record:
        return _object(record["payload"])
    rescued = {pointer[1:]: value for pointer, value in _object(record.get("_rescued")).items()}
    return {name: value for name, value in record.items() if name not in rescued} | rescued


def _object(value: object) -> Row:
    if isinstance(value, str):
        value = decode(value)
    return value if isinstance(value, dict) else {}


def _create(case: Case) -> None:
    schema = schema_of(case)
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
    script = f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.things ({columns});"
    case.setting.warehouse.execute(script + FILL.format(schema=schema))


def _table(results: Iterable[Result], changes: dict[str, dict[str, str]]) -> Table:
    """What each plugin changes, since a pipeline changes what its plugins change.

    Our connectors have a row only if they change something, which makes `make matrix` fail.
    """
    rows = [
        [
            plugin,
            "; ".join(f"`{column}`: {change}" for column, change in found.items()) or "nothing",
        ]
        for plugin, found in changes.items()
        if found or not plugin.startswith(CONNECTORS)
    ]
    failed = [
        [result.pipeline, f"{result.verdict}: {result.notes}"]
        for result in results
        if result.failure or result.lost
    ]
    return Table("postgres", ["Plugin", "Changes"], [*sorted(rows), *failed])
