"""Instruction bytes to timing classes: what a core's table is indexed by."""

from firmware_sim.decode.instruction import Instruction, UnknownInstruction
from firmware_sim.decode.rv32 import decode_rv32
from firmware_sim.decode.thumb import decode_thumb

DECODERS = {"rv32imc": decode_rv32, "thumb": decode_thumb}

__all__ = ["DECODERS", "Instruction", "UnknownInstruction", "decode_rv32", "decode_thumb"]
