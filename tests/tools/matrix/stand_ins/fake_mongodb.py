"""Run tap-mongodb with mongomock; its collection contains the file `documents` of the config."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mongomock
from bson import ObjectId
from tap_mongodb import connector
from tap_mongodb.tap import TapMongoDB

CONFIG = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_bytes())

list_collection_names = mongomock.database.Database.list_collection_names


def client(*_: Any, **__: Any) -> mongomock.MongoClient:  # noqa: ANN401 - untyped
    """Return a client of a database that contains the documents."""
    found = mongomock.MongoClient()
    lines = Path(CONFIG["documents"]).read_bytes().splitlines()
    documents = [
        {"_id": ObjectId(f"{number:08x}{0:016x}"), **json.loads(line)}
        for number, line in enumerate(lines, 1)
    ]
    found[CONFIG["database"]].orders.insert_many(documents)
    return found


# mongomock does not know the option `authorizedCollections`.
mongomock.database.Database.list_collection_names = lambda self, **_: list_collection_names(self)
connector.MongoClient = client
TapMongoDB.cli()
