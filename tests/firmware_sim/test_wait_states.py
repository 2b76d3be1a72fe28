"""Wait states without a cache: the prefetch buffer by hand, and what a profile costs with them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from firmware_sim.attribution import count_cycles
from firmware_sim.cores import Prefetch, load_core, parse_core
from firmware_sim.data_waits import access_waits, hidden_on_edge
from firmware_sim.decode import Instruction, decode_rv32
from firmware_sim.elf import Symbol, SymbolMap
from firmware_sim.prefetch import Bus, Code, State
from firmware_sim.profile import VISIT_RECORD, Block, Edge, Profile, Region
from firmware_sim.targets import Flash
from firmware_sim.timing import Cycles, block_cycles, edge_cycles
from firmware_sim.validation.rtl import rtl_cores
from firmware_sim.wait_states import Waits, _between, memory_of, wait_stalls
from realm_edge.errors import UserError

ADD, CADD, CLW, LW, SW, BNE, CJ, MULH = "33855500", "2e95", "8841", "03a50500", "23a0a500", "e31cb5fe", "f5bf", "3315b502"
# add a0,a1,t0; c.add a0,a1; c.lw a0,0(a1); lw a0,0(a1); sw a0,0(a1); bne a0,a1 backwards; c.j backwards; mulh a0,a0,a1


def instructions(code: str, address: int = 0x100) -> list[Instruction]:
    return decode_rv32(bytes.fromhex(code), address)


def stalls(core: str, code: str, wait: int, address: int = 0x100) -> int:
    """Of a block that was jumped to, its first instruction left out."""
    table = load_core(core)
    assert table.fetch is not None
    bus, block = Bus(table.fetch, wait), instructions(code, address)
    return Code(table, block, [0] * len(block)).run(bus, bus.cycle(State(), jump=True)).stalls


@pytest.mark.parametrize("core", sorted(rtl_cores()))
def test_straight_code_waits_for_its_words(core):
    assert stalls(core, 10 * ADD, wait=0) == stalls(core, 10 * CADD, wait=0) == 0
    assert stalls(core, 10 * ADD, wait=1) == 9  # a word, that is an instruction, every two cycles
    assert stalls(core, 10 * ADD, wait=3) == 27
    # Two instructions per word; CV32E40P takes the second half of the first word with the second word in the buffer.
    assert stalls(core, 10 * CADD, wait=1) == (1 if core == "cv32e40p" else 0)
    assert stalls("ibex-small", 10 * CADD, wait=3) == 2 * 4  # half of the buffer's words come four cycles apart; two cycles are used


def test_a_slow_instruction_fills_the_buffer():
    assert stalls("ibex-small", MULH + ADD, wait=1) == 0  # four cycles in decode
    assert stalls("ibex-small", MULH + 9 * ADD, wait=1) == stalls("ibex-small", MULH + 8 * ADD, wait=1) + 1
    assert stalls("cv32e40p", MULH + ADD, wait=1) == 1  # the decode stage is empty when the multiplication begins, and stays so


def test_a_jump_waits_for_what_is_under_way():
    bus = Bus(Prefetch(3, frozenset(), "test"), 3)
    (target,) = instructions(ADD)
    idle = bus.take(bus.cycle(State(), jump=True), target)[0]
    busy = bus.take(bus.cycle(State(left=2), jump=True), target)[0]
    blocked = bus.take(bus.cycle(State(left=2, request=1), jump=True), target)[0]  # and a request stands that has to be served
    assert (idle, busy, blocked) == (3, 3 + 2, 3 + 2 + 4)


@pytest.mark.parametrize(
    ("core", "code", "expected"),
    [
        ("ibex-small", LW + ADD + SW + CJ, 3 + 3),
        ("ibex-maxperf", SW + CJ, 3 - 1),  # the target is asked for meanwhile
        ("ibex-maxperf", LW + CADD + CJ, 3),
        ("cv32e40p", SW + CJ, 3),
        ("cv32e40p", SW + CADD + CJ, 3 - 1),
        ("cv32e40p", SW + MULH, 3 - 3),
        ("cv32e40p", LW + MULH, 3),  # needs what is loaded
    ],
)
def test_data_waits_by_hand(core, code, expected):
    access = load_core(core).access
    assert access is not None
    assert sum(access_waits(access, instructions(code), 3)) == expected


def test_a_taken_branch_hides_a_wait_state_and_one_more_before_an_unaligned_target():
    access = load_core("ibex-maxperf").access
    assert access is not None
    source = instructions(SW + BNE)
    assert hidden_on_edge(access, source, instructions(CADD, 0x102)[0], True, 3) == 1
    assert hidden_on_edge(access, source, instructions(ADD, 0x102)[0], True, 3) == 2
    assert hidden_on_edge(access, source, instructions(ADD, 0x102)[0], True, 1) == 1


def test_branches_behind_each_other_hide_a_wait_state_each():
    access = load_core("cv32e40p").access
    assert access is not None
    source, branch = instructions(SW + BNE), instructions(BNE, 0x108)[0]
    assert [hidden_on_edge(access, source, branch, False, wait) for wait in (1, 2, 3)] == [0, 1, 1]
    assert hidden_on_edge(access, source, instructions(ADD, 0x108)[0], False, 3) == 0


def loop(body: str = MULH + LW + BNE) -> Profile:
    """A visit: a block of three instructions and a loop, eleven times round, which ends by a call of the next marker."""
    first, length = CADD + ADD + CADD, len(instructions(body))
    blocks = (Block(0, 0x100, 3, bytes.fromhex(first), (1,)), Block(1, 0x108, length, bytes.fromhex(body), (11,)))
    edges = (Edge(2, 0, 1, (1,)), Edge(3, 1, 1, (10,)))
    records = np.array([(0, 0, 0, 1), (0, 0, 1, 11), (0, 0, 2, 1), (0, 0, 3, 10)], VISIT_RECORD)
    return Profile((Region("decoder", 1, 3 + 11 * length),), blocks, edges, records)


SYMBOLS = SymbolMap({"kernel": Symbol("kernel", 0x100, 20, True)})


@pytest.mark.parametrize("core", sorted(rtl_cores()))
def test_without_wait_states_nothing_stalls(core):
    plain = count_cycles(loop(), load_core(core), SYMBOLS)["decoder"]
    simulated = count_cycles(loop(), load_core(core), SYMBOLS, memory=partial(wait_stalls, Waits()))["decoder"]
    assert simulated.cycles == plain.cycles and simulated.stalls == (0, 0, 0)
    table, block = load_core(core), instructions(MULH + LW + BNE, 0x108)
    round_ = block_cycles(table, block).plus(edge_cycles(table, block[-1], block[0]))
    assert plain.cycles.cycles > 10 * round_.cycles


def test_a_loop_of_words_pays_for_each_word_and_for_what_was_fetched_too_far():
    stalled = count_cycles(loop(), load_core("ibex-small"), SYMBOLS, memory=partial(wait_stalls, Waits(fetch=1)))["decoder"].stalls
    data = count_cycles(loop(), load_core("ibex-small"), SYMBOLS, memory=partial(wait_stalls, Waits(data=3)))["decoder"].stalls
    assert data == (33, 33, 33)
    assert stalled.low <= stalled.cycles <= stalled.high and stalled.cycles > 11


def test_flash_without_a_cache_lies_between_no_access_and_every_access():
    flash = Flash(wait_states=2, line_bytes=4, instruction_cache_bytes=0, data_cache_bytes=0, source="test")
    table = load_core("ibex-small")

    def priced(memory, constant_bytes=0):
        costs = count_cycles(loop(4 * CLW + BNE), table, SYMBOLS, memory, {"kernel": (constant_bytes,)})
        return costs["decoder"].cycles.cycles

    none, every = (priced(partial(wait_stalls, waits)) for waits in (Waits(fetch=2), Waits(fetch=2, data=2)))
    bare = memory_of(flash, table)
    assert priced(bare) == none
    assert priced(bare, 4 * 4 * 11) == pytest.approx(every)  # every load reads a word of constants
    assert none < priced(bare, 4 * 4 * 5) < every
    assert priced(memory_of(replace(flash, instruction_cache_bytes=4096), table), 4) < none  # the model of flash.py


def test_a_table_without_the_sections_is_named():
    bare = replace(load_core("ibex-small"), fetch=None)
    with pytest.raises(UserError, match="core table 'ibex-small' has no sections 'fetch' and 'access'"):
        count_cycles(loop(), bare, SYMBOLS, memory=partial(wait_stalls, Waits(fetch=1)))
    text = (
        'name = "x"\nisa = "rv32imc"\nlabel = "l"\nvalidation = "v"\nsource = "s"\n[cycles]\nalu = { cycles = 1, source = "s" }\n[fetch]\n'
    )
    with pytest.raises(UserError, match=r"t\.toml: not a core table"):
        parse_core(text + 'source = "s"', "t.toml")


def test_between_two_memories_the_range_is_that_of_both():
    assert _between(Cycles(4, 3, 6), Cycles(8, 7, 9), 0.25) == Cycles(5, 3, 9)
    assert _between(Cycles(8, 7, 9), Cycles(4, 3, 6), 0.25) == Cycles(7, 3, 9)
