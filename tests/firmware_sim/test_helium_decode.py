"""Helium and low-overhead loops: what each instruction is to the core's table, which has no entry for what nobody has priced."""

import pytest
from capstone6pwndbg import arm

from firmware_sim.cores import load_core
from firmware_sim.decode import Instruction, UnknownInstruction, decode_thumb
from firmware_sim.timing import block_cycles
from realm_edge.errors import UserError

R = [getattr(arm, f"ARM_REG_R{number}") for number in range(13)]
Q = [getattr(arm, f"ARM_REG_Q{number}") for number in range(8)]
LR, VPR, FLAGS = arm.ARM_REG_LR, arm.ARM_REG_VPR, arm.ARM_REG_CPSR


def decoded(code: str) -> Instruction:
    (instruction,) = decode_thumb(bytes.fromhex(code), 0x100)
    return instruction


@pytest.mark.parametrize(
    ("code", "kind", "reads", "writes"),
    [
        ("b0ec101e", "vector_load", {R[0]}, {Q[0], R[0]}),  # vldrb.u8 q0,[r0],#16
        ("92ed804e", "vector_load", {R[2]}, {Q[2]}),  # vldrb.s16 q2,[r2]
        ("90fc936e", "vector_gather_8", {R[0], Q[1]}, {Q[3]}),  # vldrh.u16 q3,[r0,q1,uxtw #1]
        ("90fd043e", "vector_gather_4", {Q[0]}, {Q[1]}),  # vldrw.u32 q1,[q0,#16]
        ("89ed000f", "vector_store", {Q[0], R[1]}, set()),  # vstrh.32 q0,[r1]
        ("80ec412f", "vector_scatter_4", {Q[1], Q[0], R[0]}, set()),  # vstrw.32 q1,[r0,q0,uxtw #2]
        ("f0ee020f", "vector_dot", {Q[0], Q[1]}, {R[0]}),  # vmladav.s8 r0,q0,q1
        ("f0ee222f", "vector_dot", {Q[0], Q[1], R[2]}, {R[2]}),  # vmladava.s8 r2,q0,q1
        ("90ee222e", "vector_dot", {Q[0], Q[1], R[2], R[3]}, {R[2], R[3]}),  # vmlaldava.s16 r2,r3,q0,q1
        ("23ee050e", "vector_product", {Q[1], Q[2]}, {Q[0]}),  # vmulh.s32 q0,q1,q2
        ("13ee041e", "vector_product", {Q[1], Q[2]}, {Q[0]}),  # vmullt.s16 q0,q1,q2: top, not predicated
        ("23ee420e", "vector_accumulate", {Q[0], Q[1], R[2]}, {Q[0]}),  # vmla.i32 q0,q1,r2
        ("9bee431f", "vector_narrow", {Q[0], Q[1]}, {Q[0]}),  # vqrshrnt.s32 q0,q1,#5: keeps the other halves
        ("bbef5202", "vector_shift", {Q[1]}, {Q[0]}),  # vrshr.s32 q0,q1,#5
        ("93ff5205", "vector_shift", {Q[0], Q[1]}, {Q[0]}),  # vsli.16 q0,q1,#3
        ("3bee611e", "vector_shift", {Q[0], R[1]}, {Q[0]}),  # vrshl.s32 q0,r1
        ("12ef4406", "vector_alu", {Q[1], Q[2]}, {Q[0]}),  # vmax.s16 q0,q1,q2
        ("a0ee301b", "vector_alu", {R[1]}, {Q[0]}),  # vdup.16 q0,r1
        ("33fe050f", "vector_alu", {Q[1], Q[2], VPR}, {Q[0]}),  # vpsel q0,q1,q2
        ("22ef5201", "vector_alu", {Q[1]}, {Q[0]}),  # vmov q0,q1
        ("80ef5000", "vector_immediate", set(), {Q[0]}),  # vmov.i32 q0,#0
        ("13ec020f", "core_to_vector", {Q[0], R[2], R[3]}, {Q[0]}),  # vmov q0[2],q0[0],r2,r3
        ("11ee101b", "vector_to_core", {Q[0]}, {R[1]}),  # vmov.32 r1,q0[2]
        ("11fe031f", "vector_compare", {Q[0], Q[1]}, {VPR}),  # vcmp.s16 gt,q0,q1
        ("10f001e8", "predicate", {R[0]}, {VPR}),  # vctp.16 r0
        ("40f001e0", "loop_begin", {R[0]}, {LR}),  # dls lr,r0
        ("0ff003c8", "loop_end", {LR}, {LR}),  # le lr
        ("1ff003c8", "loop_end", {LR}, {LR}),  # letp lr
    ],
)
def test_class_and_registers(code, kind, reads, writes):
    found = decoded(code)
    assert (found.kind, found.form, found.reads, found.writes) == (kind, kind, reads, writes)


def test_a_predicated_instruction_keeps_the_lanes_that_it_does_not_write():
    _, added = decode_thumb(bytes.fromhex("71fe4d0f" + "12ef4408"), 0x100)  # vpst; vaddt.i16 q0,q1,q2
    assert (added.kind, added.reads) == ("vector_alu", {Q[0], Q[1], Q[2], VPR})


def test_bytes_that_a_vector_load_brings():
    assert [decoded(code).loaded for code in ("b0ec101e", "92ed804e", "9aed004f", "90fc936e")] == [16, 8, 8, 16]


def test_loops_end_blocks_and_go_on_behind_them():
    ends = [decoded(code) for code in ("0ff003c8", "40f003c8")]  # le; wls, which may pass by the loop
    assert all(end.transfer and end.conditional for end in ends)
    assert not decoded("40f001e0").transfer


def test_registers_of_64_bits_count_as_two_words():
    assert decoded("2ded108b").registers == 16  # vpush {d8-d15}


@pytest.mark.parametrize("code", ["9fe80300", "0ff001e0", "92ee050f", "90fc801e"])  # clrm; lctp; vabav; vld20
def test_what_has_no_class_is_an_error(code):
    with pytest.raises(UnknownInstruction, match="at 0x100 has no timing class"):
        decoded(code)


@pytest.mark.parametrize("code", ["90fc936e", "80ec412f"])  # a gathering load; a scattering store
def test_what_no_source_prices_is_an_error(code):
    with pytest.raises(UserError, match=r"core table 'cortex-m55' has no entry 'vector_(gather_8|scatter_4)'"):
        block_cycles(load_core("cortex-m55"), [decoded(code)])


def test_other_cores_have_no_vectors():
    with pytest.raises(UserError, match="core table 'cortex-m33' has no entry 'vector_load'"):
        block_cycles(load_core("cortex-m33"), [decoded("b0ec101e")])
