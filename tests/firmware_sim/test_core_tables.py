"""The Cortex-M tables: hand-computed cycles of short sequences, decoded alone, and a pin on every constant."""

import hashlib
from dataclasses import replace

import pytest

from firmware_sim.cores import core_names, load_core, parse_core
from firmware_sim.decode import decode_thumb
from firmware_sim.timing import Cycles, block_cycles, edge_cycles
from realm_edge.errors import UserError

# Changing a constant of a table changes results everywhere: do it on purpose, with a source, and renew its pin.
PINS = {
    "cortex-m0plus": "9b948445d36a7b24",
    "cortex-m33": "dfec4aee8befb828",
    "cortex-m4": "f50226ca5f93b33d",
    "cortex-m55": "ee2933d4e932306c",
    "cortex-m7": "aded374161c38051",
}


def digest(name: str) -> str:
    """Of every constant, not of comments and sources."""
    table = load_core(name)
    rows = [f"{kind} {c.low:g} {c.cycles:g} {c.high:g} {c.per_register} {c.refill}" for kind, c in sorted(table.cycles.items())]
    pairs = sorted(" ".join(pair) for pair in table.dual_issue.pairs) if table.dual_issue else []
    return hashlib.sha256("\n".join(rows + pairs).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", list(PINS))
def test_every_constant_is_pinned(name):
    assert digest(name) == PINS[name]
    table = load_core(name)
    assert table.label.startswith("table-based")


def test_every_cortex_m_table_is_pinned():
    assert set(PINS) == {name for name in core_names() if name.startswith("cortex-m")}


def cycles(core: str, code: str) -> Cycles:
    return block_cycles(load_core(core), decode_thumb(bytes.fromhex(code), 0x100))


LDR, LDRB, STR, ADDS, MULS = "0868", "0878", "0860", "5b18", "6b43"  # ldr r0,[r1]; ldrb r0,[r1]; str r0,[r1]; adds r3,r3,r1; muls r3,r5
POP_PC, PUSH, BX, BL = "10bd", "10b5", "7047", "00f000f8"  # pop {r4, pc}; push {r4, lr}; bx lr; bl
SMLAD, SDIV = "21fb0233", "91fbf2f0"  # smlad r3,r1,r2,r3; sdiv r0,r1,r2


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (ADDS + MULS, 2),
        (LDR + LDRB + STR, 2 + 2 + 2),
        (PUSH + ADDS + POP_PC, (1 + 2) + 1 + (3 + 2)),
        (ADDS + BX, 1 + 2),
    ],
)
def test_cortex_m0plus_by_hand(code, expected):
    assert cycles("cortex-m0plus", code) == Cycles(expected, expected, expected)


def test_cortex_m0plus_branches_by_hand():
    table = load_core("cortex-m0plus")
    (bne,), (target,) = decode_thumb(bytes.fromhex("fdd1"), 0x110), decode_thumb(bytes.fromhex(ADDS), 0x10E)
    assert block_cycles(table, [bne]).cycles == 1
    assert edge_cycles(table, bne, target).cycles == 2 - 1
    assert cycles("cortex-m0plus", BL) == Cycles(3, 2, 3)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        # nominal: the second of a pair hides behind the first; low: half a cycle each; high: nothing pairs
        (ADDS + "4a1c", Cycles(1, 1, 2)),  # adds r3,..; adds r2,r1,#1: independent
        (ADDS + "5c1c", Cycles(2, 1, 2)),  # adds r4,r3,#1 reads what the first writes
        (LDR + ADDS, Cycles(1, 1, 2)),
        (LDR + "421c", Cycles(1 + 1 + 1, 0.5 + 0.5, 1 + 1 + 2)),  # adds r2,r0,#1 uses the load: no pair, and a cycle of waiting
        (ADDS + "4a1c" + "4d1c", Cycles(2, 1.5, 3)),  # adds r5,r1,#1: a third waits for the next cycle
        (SMLAD + SMLAD, Cycles(2, 1, 4)),  # one MAC pipe
        (PUSH + ADDS, Cycles(3 + 1, 2 + 0.5, 3 + 1)),  # store multiple issues alone
        (SDIV, Cycles(7, 3, 20)),
    ],
)
def test_cortex_m7_by_hand(code, expected):
    assert cycles("cortex-m7", code) == expected


@pytest.mark.parametrize("core", ["cortex-m33", "cortex-m55"])
def test_estimated_cores_have_the_cortex_m4s_nominal_cycles_and_a_wider_range(core):
    code = LDR + LDRB + ADDS + SMLAD + SDIV + STR + PUSH + POP_PC
    m4, estimated = cycles("cortex-m4", code), cycles(core, code)
    assert m4 == Cycles(2 + 1 + 1 + 1 + 7 + 1 + 3 + 3 + 2, 2 + 1 + 1 + 1 + 2 + 1 + 3 + 3 + 1, 2 + 1 + 1 + 1 + 12 + 1 + 3 + 3 + 3)
    assert estimated.cycles == m4.cycles
    assert estimated.low < m4.low and estimated.high > m4.high


def test_one_constant_changes_the_cycles_of_code_that_uses_it():
    for core in PINS:
        table = load_core(core)
        instructions = decode_thumb(bytes.fromhex(STR + ADDS), 0x100)
        cost = table.cycles["store"]
        dearer = replace(table, cycles=table.cycles | {"store": replace(cost, cycles=cost.cycles + 1, high=cost.high + 1)})
        assert block_cycles(dearer, instructions).high == block_cycles(table, instructions).high + 1


def test_bytes_loaded_by_hand():
    code = LDR + LDRB + POP_PC + "d1e90023" + "9ded000a" + "9ded000b"  # and ldrd r2,r3,[r1]; vldr s0,[sp]; vldr d0,[sp]
    assert [i.loaded for i in decode_thumb(bytes.fromhex(code), 0x100)] == [4, 1, 8, 8, 4, 8]
    (literal,) = decode_thumb(bytes.fromhex("0148"), 0x100)  # ldr r0,[pc,#4]
    assert literal.literal and literal.loaded == 4


def test_a_pair_without_an_entry_is_refused():
    head = 'name = "x"\nisa = "thumb"\nlabel = "l"\nvalidation = "v"\nsource = "s"\n'
    dual = '[dual_issue]\npairs = ["alu load"]\nsource = "s"\n'
    with pytest.raises(UserError, match=r"t\.toml: dual_issue names 'load', which has no entry"):
        parse_core(head + dual + '[cycles]\nalu = { cycles = 1, source = "s" }', "t.toml")
