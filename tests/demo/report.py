"""What the demo shows: each number beside the one that was expected."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.emulator.log import LoggedRequest


class Report:
    """Prints the numbers as they are counted, and remembers whether any was not as expected."""

    def __init__(self) -> None:
        self.failed = False

    def step(self, title: str) -> None:
        """Begin a step."""
        print(f"\n{title}", flush=True)

    def say(self, text: str) -> None:
        """Show something that is not a number to check."""
        print(f"   {text}", flush=True)

    def count(self, what: str, found: object, expected: object) -> None:
        """Show what was counted, and how it differs from what was expected."""
        as_expected = found == expected
        self.failed = self.failed or not as_expected
        print(f"   {what:<44}{found}{'' if as_expected else f', EXPECTED {expected}'}", flush=True)

    def requests(self, log: Sequence[LoggedRequest], expected: dict[str, int]) -> None:
        """Show how many requests the emulator got of each kind."""
        found = Counter[str](request.operation for request in log)
        for operation in sorted({*found, *expected}):
            self.count(f"{operation} requests", found[operation], expected.get(operation, 0))
