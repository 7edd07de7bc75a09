"""The mutations of `make mutate` refer to code and tests that exist."""

import pytest

from tests.tools.docs import ROOT
from tests.tools.mutate import mutations


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.breaks)
def test_a_mutation_changes_the_code_and_names_tests(mutation):
    """Code that was rewritten needs another mutation for the same promise."""
    assert mutation.mutated(ROOT) != (ROOT / mutation.file).read_text(encoding="utf-8")
    for test in mutation.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists(), path
        if name:
            assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text("utf-8")


def test_each_mutation_is_listed_once():
    changes = [(mutation.file, mutation.old, mutation.new) for mutation in mutations()]
    assert len(changes) == len(set(changes))
