"""Mappers between a tap and target-workato-streams, and between tap-workato-streams and a loader.

Each mapper removes the value of one field, and must not change the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.tools.demo import orders
from tests.tools.matrix import plugins
from tests.tools.matrix.loaders import jsonl_config, read_jsonl
from tests.tools.matrix.plugins import Plugin
from tests.tools.matrix.report import Result, result_of
from tests.tools.matrix.setting import CONNECTORS, Case, Setting, records_of
from tests.tools.matrix.sources import ORDERS
from tests.tools.matrix.values import by_key, compare

MAPPERS = (plugins.MAP_TRANSFORM, plugins.TRANSFORM_FIELD)


def run(setting: Setting) -> Iterator[Result]:
    """Run each mapper with both connectors."""
    for plugin in MAPPERS:
        with result_of(f"{plugins.TAP_JSONL} → {plugin} → {CONNECTORS[1]}") as result:
            _to_topic(setting.case(f"{plugin.distribution}-to-topic"), plugin, result)
        yield result
        with result_of(f"{CONNECTORS[0]} → {plugin} → {plugins.TARGET_JSONL}") as result:
            _from_topic(setting.case(f"{plugin.distribution}-from-topic"), plugin, result)
        yield result


def _to_topic(case: Case, plugin: Plugin, result: Result) -> None:
    source = {"path": str(orders.FILE), "stream_name": "orders", "primary_keys": ["order_id"]}
    read = case.extract(plugins.TAP_JSONL, source)
    config = _map("note") if plugin is plugins.MAP_TRANSFORM else _transform(field_id="note")
    mapped = case.map(plugin, config, read)
    wanted = by_key(({**order, "note": None} for order in ORDERS), "order_id")
    records = records_of(mapped)
    result.add(plugin.distribution, compare(wanted, records, ORDERS[0]))
    result.add(CONNECTORS[1], compare(records, case.publish(mapped), ORDERS[0]))


def _from_topic(case: Case, plugin: Plugin, result: Result) -> None:
    case.setting.emulator.load(case.topic_id, orders.FILE.read_bytes().splitlines())
    read = case.consume()
    wanted = records_of(read)
    if plugin is plugins.MAP_TRANSFORM:
        config = _map("topic_id")
        wanted = {key: {**record, "topic_id": None} for key, record in wanted.items()}
    else:
        config = _transform(field_id="payload", field_paths=["note"])
        for record in wanted.values():
            record["payload"]["note"] = None
    columns = next(iter(wanted.values()))
    mapped = case.map(plugin, config, read)
    result.add(plugin.distribution, compare(wanted, records_of(mapped), columns))
    case.load(plugins.TARGET_JSONL, jsonl_config(case), mapped)
    loaded = by_key(read_jsonl(case), "message_id")
    result.add(plugins.TARGET_JSONL.distribution, compare(wanted, loaded, columns))


def _map(field: str) -> dict[str, Any]:
    return {"stream_maps": {"orders": {field: "__NULL__"}}}


def _transform(**what: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {"transformations": [{"tap_stream_name": "orders", "type": "SET-NULL", **what}]}
