"""The tables that were validated are frozen: a change of one constant shows, and so does a program that was there before."""

import pytest

from firmware_sim.validation.firmware import FIRMWARES
from firmware_sim.validation.frozen import lock, table_hash, written_after_freeze
from firmware_sim.validation.programs import OPTIMISATIONS, source_names
from firmware_sim.validation.rtl import rtl_cores


@pytest.mark.parametrize("core", sorted(rtl_cores()))
def test_the_table_is_the_one_that_was_frozen(core):
    assert table_hash(core) == lock()["tables"][core], f"cores/{core}.toml changed: validate it anew, then freeze it (docs/cycles.md)"


def test_the_programs_of_the_freeze_are_still_there():
    assert set(lock()["programs"]) <= {*source_names(), *(f"firmware {name}" for name in FIRMWARES)}
    assert not written_after_freeze(lock()["programs"][0]) and written_after_freeze("a program of tomorrow")
    assert len(OPTIMISATIONS) <= 5
