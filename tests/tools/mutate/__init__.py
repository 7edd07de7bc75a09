"""Mutations: changes of the code that break a promise, and the tests that must notice them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]
TABLE = Path(__file__).with_name("mutations.toml")


@dataclass(frozen=True)
class Mutation:
    """One change of one file.

    Attributes:
        breaks: What no longer holds, or why nothing changes for users if there are no tests.
        file: The path of the file in the repository.
        old: A text that occurs once in the file.
        new: What replaces it.
        tests: The tests that must fail, as arguments of pytest. Without any, the mutation is
            equivalent: it is listed so that nobody looks for a test of it again.
    """

    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()

    def mutated(self, root: Path) -> str:
        """Return the changed text of the file below `root`.

        Raises:
            ValueError: The old text does not occur exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} contains {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


def mutations() -> list[Mutation]:
    """Return the mutations of the table, in its order."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutation"]
    return [Mutation(**{**row, "tests": tuple(row.get("tests", ()))}) for row in rows]
