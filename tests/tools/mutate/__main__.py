"""Run the tests of each mutation: `python -m tests.tools.mutate [MINUTES] [PATTERN]`.

The changed code is in a temporary copy, which the tests and the executables import first. The exit
code is 1 if a mutation survives, or if its tests fail without it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.tools.mutate import ROOT, Mutation, mutations

PACKAGES = ("tap-workato-streams", "target-workato-streams")
# A mutation may make a run endless; this is more than its tests take without it.
LIMIT_SECS = 300
PASSED, FAILED = 0, 1


def run_tests(tests: tuple[str, ...], mutation: Mutation | None) -> tuple[int | None, str]:
    """Run tests with the mutated code.

    Returns:
        The exit code of pytest, None if it does not end, and its output.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        for package in PACKAGES:
            # The links to shared code are relative, so the target has the mutation, too.
            shutil.copytree(ROOT / package, Path(name, package), symlinks=True)
        if mutation:
            Path(name, mutation.file).write_text(mutation.mutated(ROOT), encoding="utf-8")
        path = os.pathsep.join(str(Path(name, package)) for package in PACKAGES)
        variables = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = process.communicate(timeout=LIMIT_SECS)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate()
            return None, ""
        return process.returncode, output


def check(mutation: Mutation) -> str:
    """Return what happened to a mutation."""
    began = time.monotonic()
    code, output = run_tests(mutation.tests, mutation)
    by = next(iter(re.findall(r"^FAILED (.+?)(?: - .*)?$", output, re.MULTILINE)), "a time limit")
    result = {
        PASSED: "SURVIVED",
        FAILED: f"detected by {by}",
        None: "detected by the time limit",
    }.get(code, f"ERROR (pytest exited with {code})")
    if code == FAILED and run_tests((by,), None)[0] != PASSED:
        result = f"ERROR (without the mutation, {by} fails, too)"
    secs = time.monotonic() - began
    print(f"{mutation.breaks}\n    {mutation.file}: {result}, {secs:.0f} s", flush=True)
    return result


def main(minutes: float, pattern: str) -> int:
    """Check the mutations whose promise or file matches `pattern`, and return the exit code."""
    ends_at = time.monotonic() + minutes * 60
    chosen = [m for m in mutations() if m.tests and re.search(pattern, f"{m.breaks} {m.file}")]

    def check_in_time(mutation: Mutation) -> str:
        return check(mutation) if time.monotonic() < ends_at else "not run"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(check_in_time, chosen))
    detected = sum(result.startswith("detected") for result in results)
    equivalent = sum(not mutation.tests for mutation in mutations())
    print(
        f"{detected} of {len(results)} mutations detected, {results.count('not run')} not run; "
        f"{equivalent} more are equivalent"
    )
    return 0 if detected + results.count("not run") == len(results) else 1


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    sys.exit(main(float(given.get(0, "30")), given.get(1, "")))
