"""Settings of the SDK that need a library from one of the connector's extras."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTOR = __name__.partition(".")[0].replace("_", "-")


def missing_extras(config: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each setting whose library is not installed."""
    if config.get("faker_config") and find_spec("faker") is None:
        yield f"faker_config: needs the extra faker; {_install('faker')}"
    batch = config.get("batch_config")
    storage = batch.get("storage") if isinstance(batch, Mapping) else None
    root = storage.get("root") if isinstance(storage, Mapping) else None
    if isinstance(root, str) and root.startswith("s3://") and find_spec("s3fs") is None:
        yield f"batch_config: s3:// needs the extra s3; {_install('s3')}"


def _install(extra: str) -> str:
    return f"install {CONNECTOR}[{extra}] in place of {CONNECTOR}"
