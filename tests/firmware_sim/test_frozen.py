"""The tables that were validated are frozen: a change of one constant shows, and so does a program that was there before."""

import pytest

from firmware_sim.validation.firmware import FIRMWARES
from firmware_sim.validation.frozen import SECTIONS, lock, table_hash, written_after_freeze
from firmware_sim.validation.programs import OPTIMISATIONS, source_names
from firmware_sim.validation.rtl import rtl_cores


@pytest.mark.parametrize("part", SECTIONS)
@pytest.mark.parametrize("core", sorted(rtl_cores()))
def test_the_table_is_the_one_that_was_frozen(core, part):
    assert table_hash(core, part) == lock()[part]["tables"][core], f"cores/{core}.toml changed: validate, then freeze (docs/cycles.md)"


@pytest.mark.parametrize("part", SECTIONS)
def test_the_programs_of_the_freeze_are_still_there(part):
    programs = lock()[part]["programs"]
    assert set(programs) <= {*source_names(), *(f"firmware {name}" for name in FIRMWARES)}
    assert not written_after_freeze(programs[0], part) and written_after_freeze("a program of tomorrow", part)
    assert len(OPTIMISATIONS) <= 5
