"""Blocks decode alone, whatever was decoded before."""

import pytest
from capstone6pwndbg import arm

from firmware_sim.decode import Instruction, UnknownInstruction
from firmware_sim.decode.thumb import decode_thumb


def test_block_that_ends_inside_an_it_block_leaves_no_trace():
    it_ne = bytes.fromhex("18bf")  # the instruction that IT guards lies in the next block, as at a page's end
    assert [i.kind for i in decode_thumb(it_ne, 0x5FFC)] == ["it"]
    bne = bytes.fromhex("f8d1")  # not allowed inside an IT block
    assert [(i.kind, i.conditional) for i in decode_thumb(bne, 0x5FFE)] == [("branch", True)]


def test_lookahead_over_a_page_is_not_part_of_the_block():
    load = bytes.fromhex("d1f8e460")  # ldr.w r6, [r1, #0xe4]
    half_a_load = bytes.fromhex("d1f8")  # what QEMU saw of the next instruction
    move = bytes.fromhex("0846")  # mov r0, r1
    assert [i.kind for i in decode_thumb(load + half_a_load, 0x5FFA, 1)] == ["load"]
    assert [i.kind for i in decode_thumb(load + move, 0x5FFA, 1)] == ["load"]
    assert [i.kind for i in decode_thumb(move + load, 0x5FFA, 2)] == ["alu", "load"]
    with pytest.raises(UnknownInstruction, match="at 0x5ffc"):
        decode_thumb(move + half_a_load, 0x5FFA, 2)


def decoded(code: str) -> Instruction:
    (instruction,) = decode_thumb(bytes.fromhex(code), 0x100)
    return instruction


R = [getattr(arm, f"ARM_REG_R{number}") for number in range(13)]


@pytest.mark.parametrize(
    ("code", "form", "reads", "writes", "roles"),
    [
        ("5b18", "alu", {R[3], R[1]}, {R[3], arm.ARM_REG_CPSR}, {}),  # adds r3,r3,r1
        ("da10", "shift", {R[3]}, {R[2], arm.ARM_REG_CPSR}, {}),  # asrs r2,r3,#3
        ("02eb4302", "shifted", {R[2], R[3]}, {R[2]}, {R[2]: "beside_shifted", R[3]: "shifted"}),  # add r2,r2,r3,lsl #1
        ("02f30703", "saturate", {R[2]}, {R[3]}, {R[2]: "shifted"}),  # ssat r3,#8,r2
        ("21fb0233", "mul", {R[1], R[2], R[3]}, {R[3]}, {R[1]: "factor", R[2]: "factor", R[3]: "accumulator"}),  # smlad r3,r1,r2,r3
        ("1afb1077", "mul", {R[0], R[7], R[10]}, {R[7]}, {R[10]: "factor", R[0]: "factor", R[7]: "accumulator"}),  # smlabt r7,r10,r0,r7
        ("19fb24f3", "mul", {R[9], R[4]}, {R[3]}, {R[9]: "factor", R[4]: "factor"}),  # smultb r3,r9,r4
        ("50fb02f0", "mul", {R[0], R[2]}, {R[0]}, {R[0]: "factor", R[2]: "factor"}),  # smmul r0,r0,r2
        ("50fb0211", "mul", {R[0], R[2], R[1]}, {R[1]}, {R[0]: "factor", R[2]: "factor", R[1]: "accumulator"}),  # smmlar r1,r0,r2,r1
        ("41fb0203", "mul", {R[0], R[1], R[2]}, {R[3]}, {R[1]: "factor", R[2]: "factor", R[0]: "accumulator"}),  # smlsd r3,r1,r2,r0
        ("2ffa80f0", "extend", {R[0]}, {R[0]}, {}),  # sxtb16 r0,r0
        ("3ffa80f0", "extend", {R[0]}, {R[0]}, {}),  # uxtb16 r0,r0
        ("c6ea0742", "extend_add", {R[6], R[7]}, {R[2]}, {R[7]: "shifted"}),  # pkhbt r2,r6,r7,lsl #16
        ("c3ea2443", "extend_add", {R[3], R[4]}, {R[3]}, {R[4]: "shifted"}),  # pkhtb r3,r3,r4,asr #16
        ("20f38f30", "saturate", {R[0]}, {R[0]}, {R[0]: "shifted"}),  # ssat r0,#16,r0,asr #14
        ("8bfa92f4", "saturate", {R[2], R[11]}, {R[4]}, {R[11]: "shifted"}),  # qdadd r4,r2,r11
        ("93fa11f2", "saturating_add", {R[1], R[3]}, {R[2]}, {}),  # qadd16 r2,r3,r1
        ("d0fa13f0", "saturating_add", {R[0], R[3]}, {R[0]}, {}),  # qsub16 r0,r0,r3
        ("90fa03f0", "parallel", {R[0], R[3]}, {R[0]}, {}),  # sadd16 r0,r0,r3
        (
            "c3fbc240",  # smlald r4,r0,r3,r2
            "mul_long",
            {R[0], R[2], R[3], R[4]},
            {R[0], R[4]},
            {R[4]: "accumulator", R[0]: "accumulator", R[3]: "factor", R[2]: "factor"},
        ),
        ("84fb0523", "mul_long", {R[4], R[5]}, {R[2], R[3]}, {R[4]: "factor", R[5]: "factor"}),  # smull r2,r3,r4,r5
        (
            "c4fb0523",  # smlal r2,r3,r4,r5
            "mul_long",
            {R[2], R[3], R[4], R[5]},
            {R[2], R[3]},
            {R[2]: "accumulator", R[3]: "accumulator", R[4]: "factor", R[5]: "factor"},
        ),
        ("11f90200", "load_narrow", {R[1], R[2]}, {R[0]}, {R[1]: "address", R[2]: "address"}),  # ldrsb r0,[r1,r2]
        ("50eab480", "alu", {R[0], R[4], arm.ARM_REG_CPSR}, {R[0]}, {}),  # csel r0,r0,r4,lt: no ORRS with a shift
        ("41f10001", "alu", {R[1], arm.ARM_REG_CPSR}, {R[1]}, {}),  # adc r1,r1,#0
        ("0860", "store", {R[0], R[1]}, set(), {R[0]: "stored", R[1]: "address"}),  # str r0,[r1]
        ("fdd1", "branch", {arm.ARM_REG_CPSR}, set(), {}),  # bne
    ],
)
def test_what_is_read_and_written(code, form, reads, writes, roles):
    found = decoded(code)
    assert (found.form, found.reads, found.writes, found.roles) == (form, reads, writes, roles)


def test_addresses_and_what_changes_them():
    # ldr r2,[r1,#4]; str r1,[lr,#-4]; ldrsb r0,[r1,r2]; ldrsb r4,[r1],#1
    plain, before, indexed, after = (decoded(code) for code in ("4a68", "4ef8041c", "11f90200", "11f9014b"))
    assert [(i.base, i.offset, i.updates) for i in (plain, before, indexed, after)] == [
        (R[1], 4, set()),
        (arm.ARM_REG_LR, -4, set()),
        (0, None, set()),
        (0, None, {R[1]}),
    ]
