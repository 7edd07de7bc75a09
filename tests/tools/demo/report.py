"""The output of the demo: each number, and the expected one if it differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from workato_streams_emulator import LoggedRequest


class Report:
    """Prints numbers and remembers whether any of them was unexpected."""

    def __init__(self) -> None:
        self.failed = False

    def step(self, title: str) -> None:
        """Print the title of a step."""
        print(f"\n{title}", flush=True)

    def say(self, text: str) -> None:
        """Print a line that is not checked."""
        print(f"   {text}", flush=True)

    def count(self, what: str, found: object, expected: object) -> None:
        """Print a number, and the expected one if it differs."""
        as_expected = found == expected
        self.failed = self.failed or not as_expected
        print(f"   {what:<44}{found}{'' if as_expected else f', EXPECTED {expected}'}", flush=True)

    def requests(self, log: Sequence[LoggedRequest], expected: dict[str, int]) -> None:
        """Print the number of requests of each kind that the emulator received."""
        found = Counter[str](request.operation for request in log)
        for operation in sorted({*found, *expected}):
            self.count(f"{operation} requests", found[operation], expected.get(operation, 0))
