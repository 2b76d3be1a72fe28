"""The Cortex-M tables: hand-computed cycles of short sequences, decoded alone, and a pin on every constant."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.cores import core_names, load_core, parse_core
from firmware_sim.decode import decode_thumb
from firmware_sim.issue import IssueModel
from firmware_sim.timing import Cycles, block_cycles, edge_cycles
from realm_edge.errors import UserError

# Changing a constant of a table changes results everywhere: do it on purpose, with a source, and renew its pin.
PINS = {
    "cortex-m0plus": "9b948445d36a7b24",
    "cortex-m33": "2bd24c538a9d93ea",
    "cortex-m4": "f50226ca5f93b33d",
    "cortex-m55": "c8a398dce871267a",
    "cortex-m7": "3813cecfaf7f5905",
}


def digest(name: str) -> str:
    """Of every constant, not of comments and sources."""
    table = load_core(name)
    rows = [f"{kind} {c.low:g} {c.cycles:g} {c.high:g} {c.per_register} {c.refill}" for kind, c in sorted(table.cycles.items())]
    return hashlib.sha256("\n".join(rows + issue_rows(table.issue)).encode()).hexdigest()[:16]


def issue_rows(model: IssueModel | None) -> list[str]:
    if model is None:
        return []
    rows = [f"issue {model.width} {model.update_latency} {sorted(model.pipes.items())} {model.write_back_in_order}"]
    rows += [f"banks {model.banks.count} {model.banks.bytes}"] if model.banks else []
    rows += [f"{role} {timing.cycles} {sorted(timing.after.items())}" for role, timing in sorted(model.operands.items())]
    taken = {form: f" {c.occupies}" if c.occupies > 1 else "" for form, c in model.classes.items()}
    return rows + [f"{form} {c.pipes} {c.latency} {c.first}{taken[form]}" for form, c in sorted(model.classes.items())]


@pytest.mark.parametrize("name", list(PINS))
def test_every_constant_is_pinned(name):
    assert digest(name) == PINS[name]
    table = load_core(name)
    assert table.label.startswith("table-based")
    if table.issue:
        assert all(entry.source.strip() for entry in [table.issue, *table.issue.classes.values(), *table.issue.operands.values()])


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


ADDS_R2_R1, ADDS_R5_R1 = "4a1c", "4d1c"  # adds r2,r1,#1; adds r5,r1,#1
ADD_W = "03eb0103"  # add.w r3,r3,r1: leaves the flags alone
SXTB, CMP, BNE, B = "4ab2", "9142", "fdd1", "fee7"  # sxtb r2,r1; cmp r1,r2; bne; b


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        # nominal: as issued; low: half a cycle each; high: nothing pairs, branches are mispredicted
        (ADDS + ADDS_R2_R1, Cycles(1, 1, 2)),
        (ADDS + "5c1c", Cycles(2, 1, 2)),  # adds r4,r3,#1 reads what the first writes
        (ADDS + ADDS_R2_R1 + ADDS_R5_R1, Cycles(2, 1.5, 3)),  # a third waits for the next cycle
        (LDR + ADDS, Cycles(1, 1, 2)),
        (LDR + "421c", Cycles(2, 1, 2)),  # adds r2,r0,#1 has a word in the next cycle,
        (LDRB + "421c", Cycles(3, 1, 3)),  # a byte one later;
        (LDR + "6843", Cycles(3, 1, 3)),  # muls r0,r5,r0 has no word of the cycle before
        ("491c" + LDR, Cycles(3, 1, 3)),  # adds r1,r1,#1: an address is read a cycle early,
        ("0068" * 2, Cycles(4, 1, 4)),  # ldr r0,[r0]: three cycles from a word to an address
        (ADDS + "02eb4302", Cycles(3, 1, 3)),  # as is the shifted operand of add r2,r2,r3,lsl #1
        (ADDS + "0b60", Cycles(1, 1, 2)),  # str r3,[r1]: what is stored a cycle late
        (LDR + STR, Cycles(1, 1, 2)),
        (STR + STR, Cycles(2, 1, 2)),  # one store pipe
        (MULS + STR, Cycles(2, 1, 2)),
        (LDR + "4a68", Cycles(1, 1, 2)),  # ldr r2,[r1,#4]: the other bank
        (LDR + "8a68", Cycles(2, 1, 2)),  # ldr r2,[r1,#8]: the same
        (LDR + "1a68", Cycles(2, 1, 2)),  # ldr r2,[r3]: nobody knows
        (SMLAD + SMLAD, Cycles(2, 1, 2)),  # one MAC pipe; sums chain
        (SMLAD + MULS, Cycles(3, 1, 3)),  # a product of a sum waits for it
        (SXTB + ADDS, Cycles(1, 1, 2)),
        (ADDS + SXTB, Cycles(2, 1, 2)),  # DSP instructions issue first
        (CMP + BNE, Cycles(2, 1, 2 + 8)),  # the branch reads the flags
        (PUSH + ADDS, Cycles(1 + 1, 1 + 0.5, 2 + 2)),  # store multiple issues alone,
        ("30b5" + ADDS, Cycles(2 + 1, 1.5 + 0.5, 3 + 2)),  # push {r4, r5, lr}: two registers a cycle
        (SDIV, Cycles(7, 3, 20)),
    ],
)
def test_cortex_m7_by_hand(code, expected):
    assert cycles("cortex-m7", code) == expected


@pytest.mark.parametrize(
    ("core", "code", "expected"),
    [
        # nominal: one instruction a cycle; low: ALU instructions in pairs; high: loads and stores of two cycles
        ("cortex-m33", LDR + ADDS, Cycles(2, 1 + 0.5, 2 + 1)),
        ("cortex-m33", LDR + "421c", Cycles(3, 1.5, 3 + 1)),  # adds r2,r0,#1 waits for the load
        ("cortex-m33", "0b68" + SMLAD, Cycles(2, 2, 2 + 1)),  # ldr r3,[r1]: a sum needs it a cycle later
        ("cortex-m33", LDR + STR, Cycles(2, 2, 2 + 2)),
        ("cortex-m33", SMLAD + SMLAD, Cycles(2, 2, 2)),
        ("cortex-m33", SMLAD + MULS, Cycles(3, 2, 3)),
        ("cortex-m33", PUSH + ADDS, Cycles(2 + 1, 2 + 0.5, 3 + 1)),
        ("cortex-m33", SDIV, Cycles(7, 2, 12)),
        ("cortex-m33", ADDS + B, Cycles(1 + 3, 0.5 + 1, 1 + 4)),  # always taken
        ("cortex-m33", BL, Cycles(3, 2, 4)),
        ("cortex-m55", LDR + "421c", Cycles(3, 1.5, 3 + 1)),
        ("cortex-m55", SMLAD + SMLAD, Cycles(3, 2, 3)),  # no forwarding to a sum
        ("cortex-m55", PUSH + ADDS, Cycles(3 + 1, 3 + 0.5, 3 + 1)),
    ],
)
def test_cores_of_one_instruction_a_cycle_by_hand(core, code, expected):
    assert cycles(core, code) == expected


VLDRB, VSTRH, VMLADAVA, VMULH = "91ed103e", "89ed000f", "f0ee222f", "23ee050e"  # q1; q0; r2,q0,q1; q0,q1,q2
VQRSHRNB, VSLI, VMAX, LE = "9bee430f", "93ff5205", "12ef4406", "0ff003c8"  # q0,q1,#5, which keeps lanes of q0, as does VSLI; q0,q1,q2


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        # nominal: two cycles of a pipe each, one begins a cycle; low: one cycle each; high: no overlap
        (VLDRB, Cycles(2, 1, 3)),
        (VLDRB + VLDRB, Cycles(4, 2, 6)),  # one pipe
        (VLDRB + VMAX, Cycles(3, 2, 5)),  # two pipes
        (VLDRB + VMLADAVA, Cycles(3, 2, 5)),  # of what is loaded, half is there after a cycle
        ((VLDRB + VMLADAVA) * 2, Cycles(6, 4, 10)),  # one sum
        (VMLADAVA + VMLADAVA, Cycles(5, 2, 7)),  # a sum waits three cycles for the one before
        (VMULH + VQRSHRNB, Cycles(4, 2, 6)),  # two cycles to a product
        (VQRSHRNB + VSLI, Cycles(5, 2, 7)),  # three to a narrowed value
        (VMULH + VMAX, Cycles(3, 2, 5)),  # what is overwritten is not read
        (VSTRH + VLDRB, Cycles(5, 2, 7)),  # no load directly behind a store
        (VLDRB + ADDS, Cycles(2, 1.5, 3)),  # other instructions go on meanwhile,
        (VLDRB + LDR, Cycles(3, 2, 5)),  # but loads
        (VLDRB + PUSH, Cycles(2 + 3, 1 + 3, 3 + 3)),  # and what has no class
        ("2ded108b", Cycles(17, 17, 17)),  # vpush {d8-d15}: 16 words
        (VLDRB + VMLADAVA + LE, Cycles(3 + 2, 3 + 1, 5 + 4)),  # the last round pays for the first one's branch
    ],
)
def test_vectors_by_hand(code, expected):
    assert cycles("cortex-m55", code) == expected


def test_rounds_of_a_low_overhead_loop_by_hand():
    table = load_core("cortex-m55")
    body = decode_thumb(bytes.fromhex(VLDRB + VMLADAVA + LE), 0x100)
    again, leaves = (edge_cycles(table, body[-1], decode_thumb(bytes.fromhex(VLDRB), address)[0]) for address in (0x100, 0x10C))
    assert block_cycles(table, body).plus(again) == Cycles(3, 2, 5)
    assert leaves == Cycles(0, 0, 0)


def test_cortex_m4_by_hand():
    code = LDR + LDRB + ADDS + SMLAD + SDIV + STR + PUSH + POP_PC
    low, high = 2 + 1 + 1 + 1 + 2 + 1 + 3 + 3 + 1, 2 + 1 + 1 + 1 + 12 + 1 + 3 + 3 + 3
    assert cycles("cortex-m4", code) == Cycles(2 + 1 + 1 + 1 + 7 + 1 + 3 + 3 + 2, low, high)


def test_one_constant_changes_the_cycles_of_code_that_uses_it():
    for core in PINS:
        table = load_core(core)
        instructions = decode_thumb(bytes.fromhex(STR + ADDS), 0x100)
        cost = table.cycles["store"]
        dearer = replace(table, cycles=table.cycles | {"store": replace(cost, high=cost.high + 1)})
        assert block_cycles(dearer, instructions).high == block_cycles(table, instructions).high + 1


def test_bytes_loaded_by_hand():
    code = LDR + LDRB + POP_PC + "d1e90023" + "9ded000a" + "9ded000b"  # and ldrd r2,r3,[r1]; vldr s0,[sp]; vldr d0,[sp]
    assert [i.loaded for i in decode_thumb(bytes.fromhex(code), 0x100)] == [4, 1, 8, 8, 4, 8]
    (literal,) = decode_thumb(bytes.fromhex("0148"), 0x100)  # ldr r0,[pc,#4]
    assert literal.literal and literal.loaded == 4


# Among them: loads and stores of all addressing modes, products, shifts, DSP and bit field instructions, LDRD, and an IT block.
SOME = [LDR, LDRB, STR, ADDS, MULS, PUSH, SMLAD, SDIV, ADDS_R2_R1, SXTB, CMP, ADD_W, "4a68", "1a68", "02eb4302", "11f90200", "11f9014b"]
SOME_VECTORS = [VLDRB, VSTRH, VMLADAVA, VMULH, VQRSHRNB, VSLI, VMAX, "13ec020f", "11ee101b", "80ef5000"]
SOME += ["84fb0523", "c4fb0523", "02f30703", "c3f34302", "1aba", "63f34202", "b2fa82f3", "01f8013b", "d1e90023", "da10", "08bf1a44", BL]


@given(st.lists(st.sampled_from(SOME), min_size=1, max_size=30).map("".join))
def test_any_sequence_keeps_low_nominal_high_in_order(code):
    for core in PINS.keys() - {"cortex-m0plus"}:
        found = cycles(core, code)
        assert 0 < found.low <= found.cycles <= found.high


@given(st.lists(st.sampled_from(SOME + SOME_VECTORS), min_size=1, max_size=30).map("".join))
def test_vectors_keep_low_nominal_high_in_order(code):
    found = cycles("cortex-m55", code)
    assert 0 < found.low <= found.cycles <= found.high


@given(st.lists(st.sampled_from(SOME), min_size=1, max_size=20), st.integers(0, 19))
def test_one_instruction_more_never_takes_less_time(code, at):
    longer = [*code[:at], ADD_W, *code[at:]]
    shorter = decode_thumb(bytes.fromhex("".join(code)), 0x100)
    assert cycles("cortex-m7", "".join(longer)).cycles >= block_cycles(load_core("cortex-m7"), shorter).cycles


def test_an_issue_class_that_needs_an_unknown_pipe_is_refused():
    head = 'name = "x"\nisa = "thumb"\nlabel = "l"\nvalidation = "v"\nsource = "s"\n'
    issue = '[issue]\nwidth = 2\nupdate_latency = 0\nsource = "s"\npipes = {}\noperands = {}\n'
    alu = '[issue.classes]\nalu = { pipes = ["alu"], latency = 1, source = "s" }\n'
    with pytest.raises(UserError, match=r"t\.toml: .*issue class 'alu' needs a pipe 'alu', which \[issue\] lacks"):
        parse_core(head + issue + alu + '[cycles]\nalu = { cycles = 1, source = "s" }', "t.toml")
