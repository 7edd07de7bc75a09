"""Run target-bigquery with a stand-in for BigQuery, whose address is `emulator` in the config."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import google.auth
from google.auth.credentials import AnonymousCredentials

CONFIG = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_bytes())
os.environ["BIGQUERY_EMULATOR_HOST"] = CONFIG["emulator"]


def default(*_: Any, **__: Any) -> tuple[AnonymousCredentials, str]:  # noqa: ANN401 - untyped
    """Return no credentials, and the project."""
    return AnonymousCredentials(), CONFIG["project"]


google.auth.default = default

from target_bigquery.target import TargetBigQuery  # noqa: E402 - it imports `default`

TargetBigQuery.cli()
