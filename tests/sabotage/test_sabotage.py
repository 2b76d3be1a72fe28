"""Tests that would notice: each bug of the list, put into a copy of the packages, makes the test fail that is named with it.

``./start test -m sabotage -rP`` puts all of them in, one at a time, and shows what each test said; CI puts in one of ten, and a plain run
checks the list alone.
"""

import ast
import subprocess
import sys
import tomllib
from collections import Counter

import pytest

from tests.sabotage.mutants import ROOT, Mutant, functions_of, mutants
from tests.sabotage.runner import PACKAGES, Runner, running

SAMPLED = 10  # of the list, one is put in where more than this is asked for


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    with running(ROOT, tmp_path_factory.mktemp("sabotage")) as runner:
        yield runner


def test_the_list_is_up_to_date():
    for mutant in mutants():
        assert mutant.new != mutant.old and mutant.applied(ROOT), mutant.name
        if mutant.file.endswith(".py"):
            ast.parse(mutant.applied(ROOT), mutant.file)
        if mutant.file.endswith(".toml"):
            tomllib.loads(mutant.applied(ROOT))
        file, _, test = mutant.test.partition("::")
        assert test.partition("[")[0] in functions_of(file), f"{mutant.name}: there is no {mutant.test}"


def test_each_named_test_is_found_with_its_parameters():
    tests = sorted({mutant.test for mutant in mutants()})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, [line for line in done.stderr.splitlines() if line.startswith("ERROR")]


def test_the_list_has_bugs_of_every_package():
    number = Counter(mutant.file.partition("/")[0] for mutant in mutants())
    assert set(number) == set(PACKAGES) and sum(number.values()) >= 150 and min(number.values()) >= 10
    assert max(Counter(mutant.name for mutant in mutants()).values()) == 1


@pytest.mark.sabotage
@pytest.mark.timeout(1800)
def test_the_named_tests_pass_as_they_are(runner: Runner):
    outcome = runner(sorted({mutant.test for mutant in mutants()}))
    assert (outcome.status, outcome.failed, outcome.broken) == (0, (), ()), outcome.said
    assert outcome.passed >= len({mutant.test for mutant in mutants()})


@pytest.mark.sabotage
@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_the_bug_is_noticed(mutant: Mutant, request: pytest.FixtureRequest):
    if request.config.getoption("markexpr") != "sabotage" and mutants().index(mutant) % SAMPLED:
        pytest.skip(f"one of {SAMPLED} is put in: -m sabotage puts in all")
    runner: Runner = request.getfixturevalue("runner")
    place = runner.copy / mutant.file
    sound, broken = place.read_text(encoding="utf-8"), mutant.applied(runner.copy)
    place.write_text(broken, encoding="utf-8")
    try:
        outcome = runner([mutant.test])
    finally:
        place.write_text(sound, encoding="utf-8")
    assert outcome.failed, f"{mutant.test} does not notice it ({outcome.passed} passed; broken: {outcome.broken}; {outcome.said})"
    print(f"{outcome.failed[0]}: {outcome.said}")
