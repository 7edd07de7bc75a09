"""Run target-snowflake with fakesnow, which keeps its database in the folder of the config.

With `--rows TABLE` as the last arguments, it prints the table instead: a line per row, with the
names of the columns whose values are JSON text.

fakesnow has no user stage (@~), and neither SELECT from a stage nor REMOVE. So PUT copies a file
into the folder `staged`, and MERGE reads a table into which these files are loaded.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import fakesnow
import snowflake.connector
from fakesnow.cursor import FakeSnowflakeCursor
from target_snowflake.target import TargetSnowflake

FOLDER = Path(sys.argv[sys.argv.index("--config") + 1]).parent
SCHEMA = "ANALYTICS.EVENT_STREAMS"
STAGED = FOLDER / "staged"
# VARIANT, OBJECT and ARRAY, whose values the connector returns as JSON text.
JSON_TYPES = {5, 9, 10}

execute_in_fakesnow = FakeSnowflakeCursor.execute


def execute(self: Any, command: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - untyped
    """Execute a statement of the target."""
    put = re.match(r"(?is)\s*put\s.*'@~/([^']+)'", command)
    merge = re.match(r"(?is)merge into.*from ('@~/([^']+)'\s*\(file_format => [^)]+\))", command)
    if put:
        path = Path(args[0]["file_uri"].removeprefix("file://"))
        (STAGED / put[1]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, STAGED / put[1])
        command, args = "SELECT 1", ()
    elif merge:
        _load(self, STAGED / merge[2])
        command = command.replace(merge[1], f"{SCHEMA}.STAGED").replace("$1:", "c:")
        command = _without_qualify(self, command.replace("SEQ8()", "n"))
    elif re.match(r"(?is)\s*(remove |drop file format)", command):
        command, args = "SELECT 1", ()
    return execute_in_fakesnow(self, command, *args, **kwargs)


def _load(cursor: Any, folder: Path) -> None:  # noqa: ANN401 - untyped
    """Load staged files into a table with a number and the record of each line."""
    table = f"{SCHEMA}.STAGED"
    execute_in_fakesnow(cursor, f"USE SCHEMA {SCHEMA}")
    execute_in_fakesnow(cursor, f"CREATE OR REPLACE TABLE {table} (n INT AUTOINCREMENT, c VARIANT)")
    for path in folder.iterdir():
        lines = f"read_json_objects('{path}', format='newline_delimited')"
        insert = f"INSERT INTO {table} (c) SELECT json FROM {lines}"  # noqa: S608 - our names
        cursor._duck_conn.execute(insert)  # noqa: SLF001 - fakesnow cannot read files


def _without_qualify(cursor: Any, command: str) -> str:  # noqa: ANN401 - untyped
    """Put the rows of a subquery into a table: fakesnow has no QUALIFY inside of MERGE."""
    rows = re.search(r"(?is) using \((select .* QUALIFY .*? = 1)\) s on ", command)
    if rows is None:
        return command
    table = f"{SCHEMA}.STAGED_ROWS"
    execute_in_fakesnow(cursor, f"CREATE OR REPLACE TABLE {table} AS {rows[1]}")
    return command.replace(f"({rows[1]})", table)


def _print_rows(table: str) -> None:
    cursor = snowflake.connector.connect(database="ANALYTICS", schema="EVENT_STREAMS").cursor()
    cursor.execute(f"SELECT * FROM {SCHEMA}.{table}")  # noqa: S608 - our names
    columns = [each.name.lower() for each in cursor.description]
    of_json = [each.name.lower() for each in cursor.description if each.type_code in JSON_TYPES]
    for values in cursor.fetchall():
        print(json.dumps([of_json, dict(zip(columns, values, strict=True))], default=str))


def main() -> None:
    """Run the target, or print a table."""
    FakeSnowflakeCursor.execute = execute
    with fakesnow.patch(db_path=str(FOLDER), extra_targets=[]):
        if "--rows" in sys.argv:
            _print_rows(sys.argv[-1])
        else:
            snowflake.connector.connect(database="ANALYTICS", schema="EVENT_STREAMS")
            # joblib's other processes would not have the stand-in.
            TargetSnowflake.max_parallelism = 1
            TargetSnowflake.cli()


if __name__ == "__main__":
    main()
