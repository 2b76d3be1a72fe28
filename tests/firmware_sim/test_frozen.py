"""The tables that were validated are frozen: a change of one constant shows, and so does a program that was there before."""

import pytest

from firmware_sim.validation import frozen
from firmware_sim.validation.firmware import FIRMWARES
from firmware_sim.validation.frozen import SECTIONS, lock, table_hash, written_after_freeze
from firmware_sim.validation.programs import source_names
from firmware_sim.validation.rtl import rtl_cores


@pytest.mark.parametrize("part", SECTIONS)
@pytest.mark.parametrize("core", sorted(rtl_cores()))
def test_the_table_is_the_one_that_was_frozen(core, part):
    assert table_hash(core, part) == lock()[part]["tables"][core], f"cores/{core}.toml changed: validate, then freeze (docs/cycles.md)"


@pytest.mark.parametrize("part", SECTIONS)
def test_the_programs_of_the_freeze_are_still_there(part):
    assert set(lock()[part]["programs"]) <= {*source_names(), *(f"firmware {name}" for name in FIRMWARES)}


def test_a_program_is_fresh_to_the_part_that_was_frozen_before_it_was_written(monkeypatch):
    """Errors on fresh programs are quoted apart: one that counted as fresh too long would flatter the table."""
    assert written_after_freeze("biquad", "cycles") and not written_after_freeze("biquad", "wait_states")  # written between the two
    assert not written_after_freeze("matvec", "cycles")
    made_up = {"cycles": {"programs": ["first"]}, "wait_states": {"programs": ["first", "second"]}}
    monkeypatch.setattr(frozen, "lock", lambda: made_up)
    fresh = {(name, part): written_after_freeze(name, part) for name in ("first", "second", "third") for part in SECTIONS}
    assert [key for key, is_fresh in fresh.items() if is_fresh] == [("second", "cycles"), ("third", "cycles"), ("third", "wait_states")]


def test_a_hash_is_of_its_own_part_and_of_every_constant_in_it(monkeypatch, tmp_path):
    def hashes(text):
        (tmp_path / "cores").mkdir(exist_ok=True)
        (tmp_path / "cores" / "made_up.toml").write_text(text)
        monkeypatch.setattr(frozen, "files", lambda package: tmp_path)
        return {part: table_hash("made_up", part) for part in SECTIONS}

    text = "[cycles.alu]\ncycles = 1\n[fetch]\nwords = 2\n[access]\nhidden = 3\n"
    plain = hashes(text)
    for old, new, parts in (
        ("= 1", "= 4", {"cycles"}),
        ("= 2", "= 4", {"wait_states"}),
        ("= 3", "= 4", {"wait_states"}),
        ("[fetch]", "# a\n[fetch]", set()),
    ):
        other = hashes(text.replace(old, new))
        assert {part for part in SECTIONS if other[part] != plain[part]} == parts
