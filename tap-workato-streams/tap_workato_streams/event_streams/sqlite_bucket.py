"""A quota that is shared by processes on one machine through a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyrate_limiter import SQLiteBucket
from typing_extensions import override

if TYPE_CHECKING:
    from pyrate_limiter import Rate

    from .quota_stores import QuotaUrl


class FileBucket(SQLiteBucket):
    """pyrate-limiter's SQLite bucket, but with the clock of the file system.

    SQLite only has the clock of the process.
    """

    path: str

    @override
    def now(self) -> int:
        os.utime(self.path)
        return Path(self.path).stat().st_mtime_ns // 1_000_000


def open_bucket(url: QuotaUrl, rate: Rate) -> FileBucket:
    """Open the file, and create it if it does not exist.

    Raises:
        sqlite3.Error: The file is not an SQLite database, or cannot be written.
    """
    # Without the file lock, a process may wait up to half a second for another one.
    path = str(url.path)
    opened = FileBucket.init_from_file([rate], table=url.name, db_path=path, use_file_lock=True)
    bucket = cast("FileBucket", opened)  # the annotation names the base class
    bucket.path = path
    return bucket
