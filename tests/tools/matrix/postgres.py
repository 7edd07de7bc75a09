"""The configs of the plugins for PostgreSQL, and a function that reads a table."""

from __future__ import annotations

import re
from typing import Any

from tests.tools.matrix import plugins
from tests.tools.matrix.setting import Case
from tests.tools.matrix.values import decode


def schema_of(case: Case) -> str:
    """The database schema of a case's tables."""
    # The version is left out, because a name may have at most 63 characters.
    return re.sub(r"[-.]|\d+\.[.\d]+", "_", case.folder.name).replace("postgres", "pg").strip("_")


def _connection(case: Case) -> dict[str, Any]:
    """Return the connection settings of PipelineWise's plugins, which psycopg2 receives."""
    return {
        "host": "127.0.0.1",
        "port": case.setting.warehouse.port,
        "user": "postgres",
        "password": "x",
        "dbname": "postgres",
    }


def _meltanolabs_target(case: Case) -> dict[str, Any]:
    return {
        "sqlalchemy_url": case.setting.warehouse.url,
        "default_target_schema": schema_of(case),
    }


def _pipelinewise_target(case: Case) -> dict[str, Any]:
    return {**_connection(case), "default_target_schema": schema_of(case)}


def _meltanolabs_tap(case: Case) -> dict[str, Any]:
    connection = _connection(case)
    connection["database"] = connection.pop("dbname")
    return {**connection, "filter_schemas": [schema_of(case)], "json_as_object": True}


def _pipelinewise_tap(case: Case) -> dict[str, Any]:
    return {**_connection(case), "filter_schemas": schema_of(case)}


LOADERS = {
    plugins.MELTANOLABS_TARGET_POSTGRES: _meltanolabs_target,
    plugins.PIPELINEWISE_TARGET_POSTGRES: _pipelinewise_target,
}
EXTRACTORS = {
    plugins.MELTANOLABS_TAP_POSTGRES: _meltanolabs_tap,
    plugins.PIPELINEWISE_TAP_POSTGRES: _pipelinewise_tap,
}


def read_table(case: Case, table: str = "orders") -> list[dict[str, Any]]:
    """Return a table's rows as JSON from PostgreSQL, which keeps every digit."""
    query = f"SELECT to_jsonb(t)::text FROM {schema_of(case)}.{table} t"  # noqa: S608 - our names
    return [decode(text) for (text,) in case.setting.warehouse.query(query)]
