"""Where QEMU cuts straight code makes no difference to what is priced."""

from dataclasses import replace

import numpy as np
import pytest

from firmware_sim.attribution import count_cycles
from firmware_sim.cores import load_core
from firmware_sim.cuts import join_blocks
from firmware_sim.decode import decode_thumb
from firmware_sim.elf import Symbol, SymbolMap
from firmware_sim.profile import VISIT_RECORD, Block, Edge, Profile, Region
from firmware_sim.targets import get_target
from firmware_sim.wait_states import memory_of

LDR, ADD, SUBS, BNE, BX = (bytes.fromhex(text) for text in ("0868", "0844", "013a", "fbd1", "7047"))  # BNE: to LDR, three back
LOOP, AT = LDR + ADD + SUBS + BNE, 0x1000
SYMBOLS = SymbolMap({"kernel": Symbol("kernel", AT, 10, True)})


def whole() -> Profile:
    """Two visits to a loop of three and five rounds, and the return."""
    blocks = (Block(0, AT, 4, LOOP, (8,)), Block(2, AT + 8, 1, BX, (2,)))
    edges = (Edge(1, 0, 0, (6,)), Edge(3, 0, 2, (2,)))
    visits = np.array([(0, 0, 0, 3), (0, 0, 1, 2), (0, 0, 2, 1), (0, 0, 3, 1), (0, 1, 0, 2), (0, 1, 1, 2)], VISIT_RECORD)
    return Profile((Region("decoder", 2, 34),), blocks, edges, visits, ((0, (5,)), (2, (0,))))


def cut() -> Profile:
    """The same, as QEMU counts it when it cuts the loop behind its second instruction, and a halfword behind that."""
    blocks = (Block(0, AT, 2, LDR + ADD + SUBS, (8,)), Block(1, AT + 4, 2, SUBS + BNE, (8,)), Block(4, AT + 8, 1, BX, (2,)))
    edges = (Edge(2, 0, 1, (8,)), Edge(3, 1, 0, (6,)), Edge(5, 1, 4, (2,)))
    first = [(0, 0, 0, 3), (0, 0, 1, 3), (0, 0, 2, 3), (0, 0, 3, 2), (0, 0, 4, 1), (0, 0, 5, 1)]
    visits = np.array([*first, (0, 1, 0, 2), (0, 1, 1, 2), (0, 1, 2, 2), (0, 1, 3, 2)], VISIT_RECORD)
    return Profile((Region("decoder", 2, 34),), blocks, edges, visits, ((0, (2,)), (1, (3,)), (4, (0,))))


def test_a_cut_loop_becomes_the_loop() -> None:
    joined, instructions = join_blocks(cut(), decode_thumb)
    expected, alike = join_blocks(whole(), decode_thumb)
    assert (joined.blocks, joined.edges, joined.crossings) == (expected.blocks, expected.edges, expected.crossings)
    assert joined.visits.tolist() == expected.visits.tolist()
    assert instructions == alike
    assert (expected.blocks, expected.edges) == (whole().blocks, whole().edges)


@pytest.mark.parametrize("target", ["cortex-m4", "stm32h7a3", "stm32g0b1"])
def test_cycles_do_not_depend_on_the_cut(target: str) -> None:
    part = get_target(target)
    profiles = [replace(profile, crossings=()) for profile in (whole(), cut())]
    costs = [
        count_cycles(p, load_core(part.core), SYMBOLS, memory_of(part.flash, load_core(part.core)), {"kernel": (16,)})["decoder"]
        for p in profiles
    ]
    assert (costs[0].cycles, costs[0].stalls, costs[0].functions) == (costs[1].cycles, costs[1].stalls, costs[1].functions)
    assert (costs[0].visits.cycles == costs[1].visits.cycles).all()
    assert (costs[0].visits.instructions == costs[1].visits.instructions).all()


def test_blocks_that_are_entered_or_left_elsewhere_stay_apart() -> None:
    profile = cut()
    for edge in (Edge(6, 4, 1, (1,)), Edge(6, 0, 4, (1,))):  # into the second half, out of the first
        joined, _ = join_blocks(replace(profile, edges=(*profile.edges, edge)), decode_thumb)
        assert [block.address for block in joined.blocks] == [AT, AT + 4, AT + 8]
    began = replace(profile, blocks=(profile.blocks[0], replace(profile.blocks[1], counts=(9,)), profile.blocks[2]))  # a visit begins there
    assert len(join_blocks(began, decode_thumb)[0].blocks) == 3


def test_a_transfer_ends_a_block_even_where_it_is_never_taken() -> None:
    blocks = (Block(0, AT, 4, LOOP, (2,)), Block(1, AT + 8, 1, BX, (2,)))
    visits = np.array([(0, 0, counter, 2) for counter in range(3)], VISIT_RECORD)
    profile = Profile((Region("decoder", 1, 10),), blocks, (Edge(2, 0, 1, (2,)),), visits)
    assert join_blocks(profile, decode_thumb)[0].blocks == blocks
