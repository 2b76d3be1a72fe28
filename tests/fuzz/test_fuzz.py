"""Damaged files of every kind are refused by one line, or read; ``./start test -m fuzz`` goes on for an hour, CI for two minutes."""

import pytest

from tests.fuzz.campaign import MOST_KEPT, fuzzed
from tests.fuzz.kinds import KINDS

SEED = 0


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_files_are_refused_or_read(kind, pytestconfig):
    seconds = (3600.0 if pytestconfig.getoption("markexpr") == "fuzz" else 120.0) / len(KINDS)
    tally = fuzzed(kind, seconds, SEED)
    print(f"{kind.name}: {tally.inputs} inputs, {dict(tally.outcomes)}")
    assert tally.inputs > 0
    assert not tally.failures, "\n".join(f"{where}: {outcome}" for where, outcome in tally.failures[:MOST_KEPT])
