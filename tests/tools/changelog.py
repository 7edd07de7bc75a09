"""The changelog's section of a version: `python -m tests.tools.changelog X.Y.Z`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = ROOT / "tap-workato-streams" / "tap_workato_streams" / "plugin" / "version.py"


def section(version: str, text: str) -> str:
    """Return the changelog's section of a version.

    Raises:
        ValueError: The changelog has no section for this version.
    """
    pattern = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## \[|\Z)"
    found = re.search(pattern, text, flags=re.DOTALL | re.MULTILINE)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no section [{version}] with a date")
    return found[1].strip() + "\n"


def main() -> int:
    """Print the section of the version to release."""
    version = sys.argv[1]
    if f'"{version}"' not in VERSION.read_text(encoding="utf-8"):
        sys.stderr.write(f"{VERSION} does not contain version {version}\n")
        return 1
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sys.stdout.write(section(version, text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
