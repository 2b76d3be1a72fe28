"""Attribution by visit, and flash stalls, of hand-made profiles."""

from functools import partial

import numpy as np
import pytest

from firmware_sim.attribution import count_cycles
from firmware_sim.cores import load_core
from firmware_sim.elf import Symbol, SymbolMap
from firmware_sim.flash import flash_stalls
from firmware_sim.profile import VISIT_RECORD, Block, Edge, Profile, Region, read_profile
from firmware_sim.targets import Flash
from firmware_sim.timing import Cycles
from realm_edge.errors import UserError

ADDS, LDRB, BNE = "5b18", "0878", "fdd1"  # adds r3,r3,r1; ldrb r0,[r1]; bne to two bytes before
FLASH = Flash(wait_states=5, line_bytes=8, instruction_cache_bytes=8, data_cache_bytes=256, source="test")


def loop_profile() -> Profile:
    """Two visits: a block of four instructions, then a load and a branch that loops: 3 times in the first visit, 7 in the second."""
    blocks = (Block(0, 0x100, 4, bytes.fromhex(4 * ADDS), (2,)), Block(1, 0x108, 2, bytes.fromhex(LDRB + BNE), (10,)))
    edges = (Edge(2, 0, 1, (2,)), Edge(3, 1, 1, (8,)))
    records = [(0, 0, 0, 1), (0, 0, 1, 3), (0, 0, 2, 1), (0, 0, 3, 2), (0, 1, 1, 4), (0, 1, 3, 4)]
    return Profile((Region("decoder", 2, 28),), blocks, edges, np.array(records, VISIT_RECORD))


SYMBOLS = SymbolMap({"kernel": Symbol("kernel", 0x100, 16, True)})


def test_each_visit_is_priced_by_hand():
    cost = count_cycles(loop_profile(), load_core("cortex-m4"), SYMBOLS)["decoder"]
    # four adds, a load 2 and a branch 1 each time round, a taken branch the refill of 1 to 3 on top
    first, second = 4 + 3 * 3 + 2 * 2, 4 + 7 * 3 + 6 * 2
    assert cost.visits.cycles[:, 0].tolist() == [first, second]
    assert cost.visits.cycles[:, 1].tolist() == [4 + 9 + 2, 4 + 21 + 6]
    assert cost.visits.cycles[:, 2].tolist() == [4 + 9 + 6, 4 + 21 + 18]
    assert cost.visits.instructions.tolist() == [4 + 6, 4 + 14]
    assert (cost.visits.at(0.5), cost.visits.at(0.99)) == (Cycles(first, 15, 19), Cycles(second, 31, 43))
    assert cost.cycles.cycles == first + second
    assert cost.functions["kernel"].loaded_bytes == 10


def test_stalls_are_part_of_the_cycles():
    plain = count_cycles(loop_profile(), load_core("cortex-m4"), SYMBOLS)["decoder"]
    slow = count_cycles(loop_profile(), load_core("cortex-m4"), SYMBOLS, partial(flash_stalls, FLASH), {"kernel": (16,)})["decoder"]
    assert slow.stalls.cycles == pytest.approx(2 * 5 + 10 * 5 * 0.6)
    assert slow.cycles.cycles == pytest.approx(plain.cycles.cycles + slow.stalls.cycles)
    assert slow.visits.cycles[:, 0].sum() == pytest.approx(slow.cycles.cycles)
    assert (slow.cycles.low, slow.stalls.high) == (plain.cycles.low, 2 * 5 + 10 * 10)


def test_a_damaged_profile_is_refused(tmp_path):
    path, visits = tmp_path / "profile.txt", tmp_path / "visits.bin"
    np.array([(0, 0, 0, 3)], VISIT_RECORD).tofile(visits)
    # alu twice (c.nop), counted three times in the region that says two instructions
    block = "block 0 80000000 2 01000100 3\n"
    path.write_text("realm-count 3\nregion 0 outside 1 2\n" + block)
    with pytest.raises(UserError, match="not a profile of this version"):
        read_profile(path)
    path.write_text("realm-count 3\nregion 0 outside 1 2\n" + block + "end\n")
    with pytest.raises(UserError, match="has 2 instructions, its blocks 6"):
        count_cycles(read_profile(path), load_core("ibex-small"), SymbolMap({}))
    path.write_text("realm-count 3\nregion 0 outside 1 6\n" + block + "end\n")
    assert count_cycles(read_profile(path), load_core("ibex-small"), SymbolMap({}))["outside"].cycles.cycles == 6
    np.array([(0, 0, 7, 3)], VISIT_RECORD).tofile(visits)
    with pytest.raises(UserError, match="a visit counts what is not listed"):
        read_profile(path)
    visits.write_bytes(b"cut")
    with pytest.raises(UserError, match=r"visits\.bin ends within a record"):
        read_profile(path)
