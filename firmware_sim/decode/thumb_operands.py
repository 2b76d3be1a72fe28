"""What a Thumb instruction does beside its timing class: the family it belongs to, and what it reads each register for."""

from typing import NamedTuple

import capstone6pwndbg as capstone
from capstone6pwndbg import arm

_FAMILIES = {
    "shift": ("lsl", "lsr", "asr", "ror", "rrx"),
    "shift_long": ("asrl", "lsll", "lsrl", "sqshl", "uqshl", "srshr", "urshr", *(f"{n}l" for n in ("sqshl", "uqshl", "srshr", "urshr"))),
    "extend": ("sxtb", "sxth", "uxtb", "uxth", "sxtb16", "uxtb16"),
    "extend_add": ("sxtab", "sxtah", "uxtab", "uxtah", "sxtab16", "uxtab16", "pkhbt", "pkhtb"),
    "extract": ("sbfx", "ubfx"),
    "insert": ("bfi", "bfc"),
    "reverse": ("rev", "rev16", "revsh", "rbit"),
    "count_zeros": ("clz",),
    "saturate": ("ssat", "usat", "ssat16", "usat16", "qdadd", "qdsub"),
    "parallel": (*(p + op for p in ("s", "sh", "u", "uh") for op in ("add16", "add8", "asx", "sax", "sub16", "sub8")), "sel"),
    "saturating_add": ("qadd", "qsub", *(p + op for p in ("q", "uq") for op in ("add16", "add8", "asx", "sax", "sub16", "sub8"))),
}
_FAMILY_OF = {name: family for family, names in _FAMILIES.items() for name in names}
_LONG_ACCUMULATE = ("smlal", "smlsld", "umlal", "umaal")
_ACCUMULATE = ("mla", "mls", "smla", "smls", "smmla", "smmls")


class Operands(NamedTuple):
    """Registers by capstone's numbers; the flags are :data:`~capstone.arm.ARM_REG_CPSR`. ``roles``: what a register is read for, where
    cores may read it at another time than other operands (the earliest, where it is read twice)."""

    reads: frozenset[int]
    writes: frozenset[int]
    updates: frozenset[int]  # of ``writes``: address registers
    roles: dict[int, str]
    base: int
    offset: int | None


def is_conditional(instruction: capstone.CsInsn) -> bool:
    """Whether it is executed only where the flags say so."""
    return instruction.cc not in (arm.ARMCC_AL, arm.ARMCC_UNDEF)


def form(instruction: capstone.CsInsn, name: str, kind: str) -> str:
    """The family of an instruction inside its kind; the kind where that says enough.

    Args:
        name: the mnemonic without width, condition and the S that sets flags.
    """
    if kind == "load" and name != "ldr":
        return "load_narrow"
    if kind != "alu":
        return kind
    if name in _FAMILY_OF:
        return _FAMILY_OF[name]
    return "shifted" if any(o.type == arm.ARM_OP_REG and o.shift.type for o in instruction.operands) else kind


def operands(instruction: capstone.CsInsn, name: str, kind: str, form: str) -> Operands:
    """Registers that are read and written; completes capstone, which leaves out flags, accumulators of two words and some sources."""
    reads, writes = (set(registers) for registers in instruction.regs_access())
    registers = [o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG]
    if instruction.update_flags:
        writes.add(arm.ARM_REG_CPSR)
    if is_conditional(instruction):
        reads.add(arm.ARM_REG_CPSR)
    roles: dict[int, str] = {}
    if kind in ("mul", "mul_long"):
        reads |= _multiply(name, registers, roles)
    elif kind in ("load", "store", "store_register_offset", "load_multiple", "store_multiple", "load_multiple_pc", "load_pc"):
        _memory(instruction, kind, registers, roles)
    elif form in ("saturate", "extend_add"):
        reads |= set(registers[1:])
        roles |= {registers[-1]: "shifted"}
    elif form in ("extract", "reverse"):
        roles |= {registers[-1]: "shifted"}
    elif form == "shifted":
        roles |= dict.fromkeys(registers, "beside_shifted") | {registers[-1]: "shifted"}
    address = {register for register, role in roles.items() if role == "address"}
    updates = writes & address if instruction.writeback else set()
    memory = _address(instruction)
    fixed = memory is not None and not memory.index and not instruction.writeback and memory.base != arm.ARM_REG_PC
    base, offset = (memory.base, _distance(instruction, memory)) if memory is not None and fixed else (0, None)
    return Operands(frozenset(reads), frozenset(writes), frozenset(updates), roles, base, offset)


def _multiply(name: str, registers: list[int], roles: dict[int, str]) -> set[int]:
    """Gives the registers their roles; returns those that are read."""
    if name.startswith(_LONG_ACCUMULATE):
        accumulators, factors = registers[:2], registers[2:]
    elif name.startswith(_ACCUMULATE):
        accumulators, factors = registers[3:], registers[1:3]
    else:
        accumulators, factors = [], registers[2 if name in ("umull", "smull") else 1 :]
    roles |= dict.fromkeys(accumulators, "accumulator") | dict.fromkeys(factors, "factor")
    return set(accumulators) | set(factors)


def _memory(instruction: capstone.CsInsn, kind: str, registers: list[int], roles: dict[int, str]) -> None:
    if kind.startswith("store"):
        roles |= dict.fromkeys(registers, "stored")
    memory = _address(instruction)
    if memory is not None:
        roles |= {register: "address" for register in (memory.base, memory.index) if register}
    else:  # LDM and STM name the base first, POP and PUSH not at all
        stack = instruction.mnemonic.startswith(("pop", "push", "vpop", "vpush"))
        roles |= {arm.ARM_REG_SP: "address"} if stack else {registers[0]: "address"}


def _distance(instruction: capstone.CsInsn, memory: arm.ArmOpMem) -> int:
    """Bytes from the address register; capstone has the sign apart."""
    subtracted = any(o.type == arm.ARM_OP_MEM and o.subtracted for o in instruction.operands)
    return -memory.disp if subtracted else memory.disp


def _address(instruction: capstone.CsInsn) -> arm.ArmOpMem | None:
    return next((o.mem for o in instruction.operands if o.type == arm.ARM_OP_MEM), None)
