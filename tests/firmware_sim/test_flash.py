"""Stalls by flash wait states, of hand-made profiles."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.cores import load_core
from firmware_sim.decode import decode_thumb
from firmware_sim.flash import flash_stalls
from firmware_sim.memory import Executed
from firmware_sim.profile import VISIT_RECORD, Block, Edge, Profile, Region
from firmware_sim.targets import Flash
from firmware_sim.timing import Cycles

ADDS, LDRB, BNE = "5b18", "0878", "fdd1"  # adds r3,r3,r1; ldrb r0,[r1]; bne to two bytes before: 1, 2 and 1 cycles
FLASH = Flash(wait_states=5, line_bytes=8, instruction_cache_bytes=8, data_cache_bytes=256, source="test")
NO_CACHE = replace(FLASH, instruction_cache_bytes=0)
PREFETCH = replace(NO_CACHE, prefetch=True)


def profile_of(blocks: list[tuple[int, str, int]], edges: list[tuple[int, int, int]]) -> Profile:
    """One region. Blocks: address, code, executions; edges: from, to, count."""
    found = tuple(Block(i, address, len(code) // 4, bytes.fromhex(code), (count,)) for i, (address, code, count) in enumerate(blocks))
    steps = tuple(Edge(len(blocks) + i, source, target, (count,)) for i, (source, target, count) in enumerate(edges))
    return Profile((Region("decoder", 1, 0),), found, steps, np.array([], VISIT_RECORD))


def stalls(flash: Flash, profile: Profile, constant_bytes: int = 0, in_ram: frozenset[str] = frozenset()) -> list[Cycles]:
    decoded = [decode_thumb(block.code, block.address, block.instructions) for block in profile.blocks]
    names = ["kernel"] * len(decoded)
    constants = {"kernel": (constant_bytes,)}
    return flash_stalls(flash, Executed(load_core("cortex-m0plus"), profile, decoded, names, constants, in_ram)).blocks


# Two calls: a line of four instructions, then a loop within one line, ten times round in all
LOOP = profile_of([(0x100, 4 * ADDS, 2), (0x108, LDRB + BNE, 10)], [(0, 1, 2), (1, 1, 8)])
# One call: a line, then a loop of two lines and half of a third, ten times round
LONG_LOOP = profile_of([(0xF8, 4 * ADDS, 1), (0x100, 8 * ADDS, 10), (0x110, ADDS + BNE, 10)], [(0, 1, 1), (1, 2, 10), (2, 1, 9)])


def test_the_loop_is_held_and_what_does_not_fit_misses_each_time():
    entry, loop = stalls(FLASH, LOOP)
    assert entry == Cycles(5, 0, 5)
    assert loop == Cycles(pytest.approx(5 * 2 / 10), 0, 5)  # its line is brought once per call, of two


def test_what_is_held_is_read_once_a_call_however_the_core_comes_to_it():
    held = replace(FLASH, instruction_cache_bytes=24)  # the loop's three lines, and not the entry's
    entry, head, tail = stalls(held, LONG_LOOP)
    assert entry.cycles == 5
    assert (head.cycles, tail.cycles) == (pytest.approx(2 * 5 / 10), pytest.approx(5 / 10))


def test_code_that_fits_the_cache_stays_from_visit_to_visit():
    assert stalls(replace(FLASH, instruction_cache_bytes=16), LOOP) == [Cycles(0, 0, 5), Cycles(0, 0, 5)]


def test_without_a_cache_every_line_is_read_but_the_one_that_the_core_is_in():
    assert stalls(NO_CACHE, LOOP) == [Cycles(5, 0, 5), Cycles(pytest.approx(5 * 2 / 10), 0, 5)]
    assert stalls(NO_CACHE, LONG_LOOP) == [Cycles(5, 0, 5), Cycles(10, 0, 10), Cycles(5, 0, 5)]


def test_prefetch_reads_the_next_line_while_one_is_executed():
    entry, loop = stalls(PREFETCH, LOOP)
    assert entry == Cycles(5, 0, 10)  # reached by a call; at most a line that is read in vain on top
    assert loop == Cycles(pytest.approx(2 * (5 + 1 - 4) / 10), 0, 10)  # twice behind the entry's four cycles
    entry, head, tail = stalls(PREFETCH, LONG_LOOP)
    assert entry == Cycles(5, 0, 10)
    assert head == Cycles(pytest.approx((2 + 9 * 5) / 10 + 2), 0, 15)  # once from the line before, nine times by the branch; second line
    assert tail == Cycles(2, 0, 10)


def test_a_line_that_takes_longer_than_a_read_hides_it():
    assert [one.cycles for one in stalls(replace(PREFETCH, wait_states=3), LONG_LOOP)] == [3, pytest.approx(9 * 3 / 10), 0]


def test_behind_prefetch_the_cache_holds_what_the_core_waits_for():
    # Each line is executed for longer than a read: one line of cache is enough for the loop of three, and brought once.
    fast = replace(PREFETCH, wait_states=3, instruction_cache_bytes=8)
    assert [one.cycles for one in stalls(fast, LONG_LOOP)] == [3, pytest.approx(3 * 1 / 10), 0]
    # A read takes longer: the loop's first block wants two lines, and where they fit neither is read twice.
    slow = replace(PREFETCH, instruction_cache_bytes=16)
    assert [one.cycles for one in stalls(slow, LONG_LOOP)] == [5, pytest.approx(2 * 5 * 1 / 10), 2]


@pytest.mark.parametrize(
    ("flash", "reads"),
    [
        (FLASH, 2),  # 16 bytes are two lines a call
        (replace(FLASH, data_cache_bytes=0), 5),  # 16 loads of one byte a call, but no more than there are: all stall
        (replace(FLASH, data_cache_bytes=0, unified=True, instruction_cache_bytes=8), 2),
    ],
)
def test_constants_are_read_once_a_call(flash, reads):
    entry, loop = stalls(flash, LOOP, 16)
    assert entry.cycles == 5
    assert loop == Cycles(pytest.approx(5 * (0.2 + reads * 2 / 10)), 0, 10)


def test_a_load_of_two_words_is_two_reads_where_no_cache_holds_a_line():
    bare, two, pair = replace(FLASH, data_cache_bytes=0), profile_of([(0x100, 2 * "0868", 1)], []), profile_of([(0x100, "05c9", 1)], [])
    assert stalls(bare, two, 8) == stalls(bare, pair, 8) == [Cycles(2 * 5, 0, (1 + 2) * 5)]  # ldr r0, [r1] twice; ldm r1!, {r0, r2}


def test_code_in_ram_waits_for_its_constants_alone():
    in_ram = frozenset({"kernel"})
    assert stalls(PREFETCH, LOOP, in_ram=in_ram) == [Cycles(0, 0, 0)] * 2
    entry, loop = stalls(FLASH, LOOP, 16, in_ram)
    assert entry == Cycles(0, 0, 0) and loop == Cycles(pytest.approx(5 * 2 * 2 / 10), 0, 5)  # two lines a call, of two


def test_code_in_ram_is_not_fetched_from_flash_beside_code_that_is():
    """What is left in flash keeps the region from its cache; code in RAM waits for its constants alone, two lines a call."""
    profile = profile_of([(0x100, 4 * ADDS, 2), (0x108, LDRB + BNE, 10), (0x200, 4 * ADDS, 2)], [(0, 1, 2), (1, 1, 8), (1, 2, 2)])
    decoded = [decode_thumb(block.code, block.address, block.instructions) for block in profile.blocks]
    constants, core = {"kernel": (16,), "other": ()}, load_core("cortex-m0plus")
    executed = Executed(core, profile, decoded, ["kernel", "kernel", "other"], constants, frozenset({"kernel"}))
    entry, loop, other = flash_stalls(NO_CACHE, executed).blocks
    assert entry.cycles == 0 and other.cycles == 5
    assert loop.cycles == pytest.approx(5 * 2 * 2 / 10)


def test_literals_lie_beside_their_code():
    load = profile_of([(0x100, "0148" + ADDS, 1)], [])  # ldr r0, [pc, #4]
    assert stalls(replace(FLASH, data_cache_bytes=0), load) == [Cycles(5, 0, 5 + 5)]  # its line stays in the cache of code
    assert stalls(replace(FLASH, data_cache_bytes=0), load, in_ram=frozenset({"kernel"})) == [Cycles(0, 0, 0)]


def test_code_in_ram_takes_no_room_of_the_cache():
    """What is left in flash stays there from visit to visit, as if it were alone."""
    names, decoded = ["kernel", "other"], [decode_thumb(block.code, block.address, block.instructions) for block in LOOP.blocks]
    flash = replace(FLASH, instruction_cache_bytes=8)  # a line, that of the loop

    def loop(in_ram: frozenset[str]) -> float:
        executed = Executed(load_core("cortex-m0plus"), LOOP, decoded, names, {"kernel": (), "other": ()}, in_ram)
        return flash_stalls(flash, executed).blocks[1].cycles

    assert loop(frozenset()) > 0 == loop(frozenset({"kernel"}))


def test_no_wait_states_no_stalls():
    assert stalls(replace(FLASH, wait_states=0), LOOP, 16) == [Cycles(0, 0, 0)] * 2


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Blocks one behind the other, of 1 to 10 instructions; each falls into the next, loops, or is jumped to."""
    blocks: list[tuple[int, str, int]] = []
    edges: list[tuple[int, int, int]] = []
    address, before = 0x100, 0
    for i in range(draw(st.integers(1, 5))):
        code, count = draw(st.integers(1, 10)) * ADDS, draw(st.integers(1, 20))
        fallen = draw(st.integers(0, min(before, count)))
        again = draw(st.integers(0, count - fallen))
        blocks.append((address, code, count))
        edges += [(i - 1, i, fallen)] if fallen else []
        edges += [(i, i, again)] if again else []
        address, before = address + len(code) // 2, count - again
    return profile_of(blocks, edges)


@given(
    profiles(),
    st.integers(1, 8),
    st.sampled_from([4, 8, 16]),
    st.sampled_from([0, 8, 16, 64]),
    st.booleans(),
)
def test_nominal_lies_within_its_bounds(profile, wait_states, line_bytes, cache_bytes, prefetch):
    flash = Flash(wait_states, line_bytes, cache_bytes, 0, "test", prefetch=prefetch)
    uncached = reads(profile, line_bytes)
    for block, stall, lines_read in zip(profile.blocks, stalls(flash, profile), uncached, strict=True):
        lines = (block.address + len(block.code) - 1) // line_bytes - block.address // line_bytes + 1
        assert stall.low == 0 <= stall.cycles <= lines_read * wait_states + 1e-9  # what a cache holds is not read again
        assert stall.high == (lines + prefetch) * wait_states


@given(profiles(), st.integers(1, 8), st.sampled_from([4, 8, 16]))
def test_without_a_cache_each_line_that_the_core_comes_to_is_a_read(profile, wait_states, line_bytes):
    found = stalls(Flash(wait_states, line_bytes, 0, 0, "test"), profile)
    assert [stall.cycles for stall in found] == pytest.approx([lines_read * wait_states for lines_read in reads(profile, line_bytes)])


def reads(profile: Profile, line_bytes: int) -> list[float]:
    """Lines that one execution of each block reads, in the mean: its first line not where the core comes from that line."""
    found = []
    for block in profile.blocks:
        first, last = block.address // line_bytes, (block.address + len(block.code) - 1) // line_bytes
        entered = [(profile.blocks[edge.source], edge.counts[0]) for edge in profile.edges if edge.target == block.counter]
        already = sum(count for source, count in entered if (source.address + len(source.code) - 1) // line_bytes == first)
        found.append(last - first + 1 - already / block.counts[0])
    return found


@given(profiles(), st.integers(1, 8), st.sampled_from([4, 8, 16]))
def test_prefetch_alone_never_costs(profile, wait_states, line_bytes):
    plain = Flash(wait_states, line_bytes, 0, 0, "test")
    for with_it, without in zip(stalls(replace(plain, prefetch=True), profile), stalls(plain, profile), strict=True):
        assert with_it.cycles <= without.cycles + 1e-9
