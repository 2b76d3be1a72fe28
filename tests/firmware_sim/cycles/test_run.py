"""Programs of which every instruction is known: calls, stacks, spans, regions, stalls; and what does not end well is told."""

import pytest

from firmware_sim.cycles.form import CyclesProfile
from firmware_sim.cycles.pricing import table_of
from firmware_sim.cycles.program import read_program
from firmware_sim.cycles.run import Span, count
from realm_edge.errors import UserError
from tests.firmware_sim.cycles.programs import CALLS, link, needs, profiled

INSTRUCTIONS = {  # executed, by hand
    "cortex-m4": {"inner": 3 * 12, "outer": 4, "tail": 1, "again": 3 * 6 + 3, "main": 7},
    "rv32imc": {"inner": 3 * 12, "outer": 7, "tail": 1, "again": 3 * 8 + 2, "main": 10},
}
CORES = tuple(CALLS)


@pytest.fixture(scope="module", params=CORES)
def calls(request, tmp_path_factory):
    """Target, ELF and profile of the program of calls."""
    target = needs(request.param)
    elf = link(tmp_path_factory.mktemp("calls"), target, CALLS[target.name])
    return target, elf, profiled(elf, target)


def rows(profile: CyclesProfile) -> dict:
    return {row.name: row for row in profile.functions}


def test_instructions_and_calls_are_those_written(calls):
    target, _, profile = calls
    found = rows(profile)
    assert {name: found[name].instructions for name in INSTRUCTIONS[target.name]} == INSTRUCTIONS[target.name]
    assert {name: found[name].calls for name in INSTRUCTIONS[target.name]} == {"inner": 3, "outer": 1, "tail": 1, "again": 4, "main": 1}
    assert sum(row.instructions for row in profile.functions) == profile.total.instructions
    assert sum(row.cycles for row in profile.functions) == pytest.approx(profile.total.cycles)


def test_cycles_are_those_of_the_core_s_table(calls):
    """Cortex-M4: 1 + 5 + 5 and four refills of 2 for the loop, BX 1 and its refill. Ibex: taken branches 3, not taken 1, ret 2 more."""
    target, _, profile = calls
    inner = rows(profile)["inner"]
    stalls = {"cortex-m4": 5, "rv32imc": 0}[target.name]  # one line of flash, missed once in three calls
    once = {"cortex-m4": 11 + 4 * 2 + 1 + 2, "rv32imc": 1 + 5 + 4 * 3 + 1 + 2}[target.name]
    assert (inner.cycles, inner.stall_cycles) == (3 * once + stalls, stalls)


def test_what_is_called_counts_for_whoever_called_it(calls):
    target, _, profile = calls
    found, cycles = rows(profile), {stack.functions: stack.cycles for stack in profile.stacks}
    start = ("reset", "main")
    assert {name for name in cycles if name[:2] == start} == {
        *(start, (*start, "outer"), (*start, "outer", "inner"), (*start, "tail"), (*start, "tail", "inner"), (*start, "again"))
    }
    twice, once = cycles[(*start, "outer", "inner")], cycles[(*start, "tail", "inner")]
    assert twice + once == found["inner"].cycles and (twice == 2 * once or target.name == "cortex-m4")  # where the first one misses
    assert found["outer"].cycles_with_callees == found["outer"].cycles + twice
    assert found["tail"].cycles_with_callees == found["tail"].cycles + once
    assert found["again"].cycles_with_callees == found["again"].cycles  # recursion once
    assert found["reset"].cycles_with_callees == pytest.approx(profile.total.cycles)
    assert sum(cycles.values()) == pytest.approx(profile.total.cycles)


def test_a_span_begins_and_ends_where_it_is_told(calls):
    target, elf, _ = calls
    part = profiled(elf, target, "outer", "tail")
    assert {row.name: row.instructions for row in part.functions} == {
        **{"inner": 24, "outer": INSTRUCTIONS[target.name]["outer"]},
        "main": 1,  # the call of tail
    }
    third = profiled(elf, target, "inner", "inner", 3)
    assert rows(third)["inner"].instructions == 24 and third.times == 3


def test_two_runs_are_equal(calls):
    target, elf, profile = calls
    assert profiled(elf, target) == profile


@pytest.mark.parametrize(
    ("entry", "until", "words"), [("fault", None, "without reaching fault"), (None, "fault", "without reaching fault")]
)
def test_a_symbol_that_never_runs_is_named(entry, until, words, calls):
    target, elf, _ = calls
    with pytest.raises(UserError, match=words):
        profiled(elf, target, entry, until)


def test_an_end_that_is_run_into_is_refused(tmp_path):
    target = needs("cortex-m4")
    source = '__attribute__((naked)) int main(void) { __asm__("movs r0, #0\\n.global inside\\ninside: movs r1, #1\\n bx lr"); }'
    elf = link(tmp_path, target, source)
    with pytest.raises(UserError, match=r"runs into the end without a jump or call: name another symbol"):
        profiled(elf, target, until="inside")


REGIONS = """
#define MARKER(name) __attribute__((noinline, aligned(4))) void realm_region_##name(void) { __asm__ volatile(""); }
MARKER(work)
MARKER(rest)
__attribute__((noinline)) void spin(int n) { while (n--) __asm__ volatile(""); }
int main(void) {
    for (int i = 1; i <= 3; i++) { realm_region_work(); spin(10 * i); realm_region_rest(); spin(1); }
    return 0;
}
"""


@pytest.mark.parametrize("name", CORES)
def test_markers_divide_a_program_into_regions(name, tmp_path):
    target = needs(name)
    profile = profiled(link(tmp_path, target, REGIONS), target)
    regions = {region.name: region for region in profile.regions}
    assert [(name, region.visits) for name, region in regions.items()] == [("start", 1), ("rest", 3), ("work", 3)]
    work = regions["work"]
    assert work.longest_cycles > work.median_cycles > regions["rest"].median_cycles > 0
    assert sum(region.cycles for region in regions.values()) == pytest.approx(profile.total.cycles)


TICKS = """
#include <stdint.h>
#define SYST ((volatile uint32_t *)0xE000E010u)
volatile uint32_t ticks;
void tick(void) { ticks++; }
extern const uintptr_t vectors[16];
__attribute__((aligned(128))) uintptr_t table[16];
int main(void) {
    for (int i = 0; i < 16; i++) table[i] = vectors[i];
    table[15] = (uintptr_t)tick;
    *(volatile uint32_t *)0xE000ED08u = (uint32_t)table;
    SYST[1] = 2500; SYST[2] = 0; SYST[0] = 7;
    for (volatile int i = 0; i < 20000; i++) {}
    SYST[0] = 0;
    return ticks < 5;
}
"""


def test_interrupts_come_at_the_same_places(tmp_path):
    target = needs("cortex-m4")
    elf = link(tmp_path, target, TICKS)
    one, two = profiled(elf, target), profiled(elf, target)
    assert one.stepped and one == two
    tick = rows(one)["tick"]
    assert tick.calls > 4 and tick.instructions % tick.calls == 0
    assert ("reset", "main", "tick") in {stack.functions for stack in one.stacks}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 7;", r"it ended with status 7: cycles of a program that fails say nothing"),
        ("__asm__ volatile(\"ldr r0, =0xF0000000\\n ldr r0, [r0]\"); return 0;", "it ended with status 3"),
        ("for (;;) {}", r"still running after 1 s, 100% of the instructions in main; have it exit by semihosting"),
    ],
)  # fmt: skip
def test_a_program_that_does_not_end_well_is_told(body, words, tmp_path):
    target = needs("cortex-m4")
    program = read_program(link(tmp_path, target, f"int main(void) {{ {body} }}"), target)
    with pytest.raises(UserError, match=words):
        count(program, Span(program.start, "reset"), target, table_of(target), 1.0)


def test_tables_that_are_read_from_flash_stall(tmp_path):
    """A table of 4 KiB, each word once: of 512 lines of 8 bytes, none is held."""
    target = needs("cortex-m4")
    source = """
#include <stdint.h>
static const uint32_t table[1024] __attribute__((aligned(8), section(".rodata"))) = {1, 2, 3};
__attribute__((noinline)) uint32_t sum(const volatile uint32_t *at) { uint32_t s = 0; for (int i = 0; i < 1024; i++) s += at[i]; return s; }
int main(void) { return sum(table) != 6; }
"""
    found = rows(profiled(link(tmp_path, target, source), target))["sum"]
    assert 0 <= found.stall_cycles - 5 * 512 <= 5 * 40  # and lines of its own code
    assert found.cycles_high - found.cycles_low >= 5 * 1024
