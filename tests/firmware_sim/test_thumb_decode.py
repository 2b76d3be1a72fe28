"""Blocks decode alone, whatever was decoded before."""

import pytest

from firmware_sim.decode import UnknownInstruction
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
