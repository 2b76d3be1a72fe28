"""Settings of any shape: they are refused by one line, or all their numbers are within bounds."""

import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from firmware_sim.budgets import UNITS, load_budgets
from realm_edge.errors import UserError
from realm_edge.settings import Settings, load

WHOLE = Settings().model_dump(mode="json")
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, 1, 2**31, 2**53]), st.floats(), st.sampled_from([1e-300, 1e300, -0.0])
)
VALUES = st.recursive(
    st.one_of(NUMBERS, st.booleans(), st.text(max_size=30)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def changes(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields with other values, sections among them."""
    one = {name: st.one_of(VALUES, changes(value)) if isinstance(value, dict) else VALUES for name, value in fields.items()}
    return st.fixed_dictionaries({}, optional=one)


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers_in(each)
    elif isinstance(value, int | float):
        yield value


def written(folder: str, content: dict[str, Any]) -> Path:
    path = Path(folder, "a.toml")
    path.write_text(tomli_w.dumps(content), encoding="utf-8", errors="surrogatepass")
    return path


@pytest.mark.fuzz
@of_hypothesis(max_examples=2000, deadline=None, derandomize=True)
@given(changes(WHOLE))
def test_settings_are_refused_or_bounded(content: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        try:
            found = load(written(folder, content))
        except UserError as error:
            assert "a.toml: " in str(error)
            return
    assert all(math.isfinite(number) and abs(number) < 2**63 for number in numbers_in(found.model_dump(mode="json")))


@pytest.mark.fuzz
@of_hypothesis(max_examples=2000, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from([*UNITS, "other"]), st.one_of(VALUES, st.fixed_dictionaries({"limit": VALUES, "source": VALUES})), max_size=4
    )
)
def test_budgets_are_refused_or_finite(content: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        try:
            found = load_budgets(written(folder, content))
        except UserError as error:
            assert "a.toml: " in str(error)
            return
    assert found and all(math.isfinite(budget.limit) and budget.source.strip() for budget in found)
