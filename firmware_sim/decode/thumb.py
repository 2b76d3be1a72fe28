"""Thumb (ARMv6-M to ARMv8.1-M mainline with DSP, single-precision floating point and Helium) to timing classes, decoded by capstone."""

from dataclasses import replace

import capstone6pwndbg as capstone
from capstone6pwndbg import arm

from firmware_sim.decode.helium import helium
from firmware_sim.decode.instruction import Instruction, UnknownInstruction
from firmware_sim.decode.thumb_operands import form, is_conditional, operands

_MULTIPLY_LONG = ("umull", "smull", "umlal", "smlal", "smlsld", "umaal")
_MULTIPLY = ("mul", "mla", "mls", "smul", "smla", "smls", "smua", "smus", "smmul", "smml")
_LINKS = ("bl", "blx")
_JUMPS = ("bx", "bxj", "bxns")
_FLOAT_ONE = ("vadd", "vsub", "vmul", "vnmul", "vabs", "vneg", "vcmp", "vcvt", "vmov", "vmrs", "vmsr", "vmax", "vmin", "vrint", "vsel")
_UNPRICED = ("clrm", "lctp", "bf", "bfl", "bfx", "bflx", "bfcsel")  # of ARMv8.1-M: no source says what they take
_FLOAT_MAC = ("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms")


def decode_thumb(code: bytes, address: int, count: int | None = None) -> list[Instruction]:
    """Decode a block of Thumb-2 code. Instructions under an IT block count as executed, whether their condition holds or not.

    Args:
        code: the block's bytes; QEMU 7.2 adds the halfword after the block where it looks ahead over a page's end.
        address: of the first instruction.
        count: instructions in the block; None: as many as ``code`` holds.

    Raises:
        UnknownInstruction: capstone or the classes below do not know an encoding.
    """
    found = [_with_registers(instruction) for instruction in _disassembler().disasm(code, address, count or 0)]
    at = sum(instruction.size for instruction in found)
    if len(found) < count if count is not None else at != len(code):
        raise UnknownInstruction(f"{code[at : at + 4].hex()} at {address + at:#x} is not Thumb-2 of a Cortex-M")
    return found


def _disassembler() -> capstone.Cs:
    """A fresh one for every block: capstone remembers an IT block that the end of the code before cut short."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8)
    engine.detail = True
    return engine


def _with_registers(instruction: capstone.CsInsn) -> Instruction:
    name = _name(instruction)
    if of_helium := helium(instruction, name):
        return of_helium
    found = _classify(instruction, name)
    of_kind = form(instruction, name.removesuffix("s") if instruction.update_flags else name, found.kind)
    return replace(found, form=of_kind, **operands(instruction, name, found.kind, of_kind)._asdict())


def _name(instruction: capstone.CsInsn) -> str:
    """The mnemonic without width and condition: "addeq.w" is "add"."""
    name = instruction.mnemonic.split(".")[0]
    return name[:-2] if is_conditional(instruction) and len(name) > 3 and name.endswith(_CONDITIONS[instruction.cc]) else name


def _classify(instruction: capstone.CsInsn, name: str) -> Instruction:
    address, size = instruction.address, instruction.size
    conditional = is_conditional(instruction)
    if name == "b" or (conditional and instruction.id == arm.ARM_INS_B):
        return Instruction(address, size, "branch", transfer=True, conditional=conditional)
    if name in ("cbz", "cbnz"):
        return Instruction(address, size, "branch", transfer=True, conditional=True)
    if name in _LINKS:
        return Instruction(address, size, "branch_link", transfer=True, conditional=conditional)
    if name in _JUMPS:
        return Instruction(address, size, "branch", transfer=True, conditional=conditional)
    if name in ("tbb", "tbh"):
        return Instruction(address, size, "table_branch", transfer=True, loaded=1 if name == "tbb" else 2)
    if name.startswith("v"):
        return _float(instruction, name)
    if name.startswith(("ldr", "ldm", "pop", "str", "stm", "push")):
        return _memory(instruction, name, conditional)
    if name.startswith("it") and instruction.id == arm.ARM_INS_IT:
        return Instruction(address, size, "it")
    if name in ("sdiv", "udiv"):
        return Instruction(address, size, "div")
    if name.startswith(("dmb", "dsb", "isb", "cps", "msr", "mrs", "svc", "bkpt", "wfi", "wfe", "sev")):
        return Instruction(address, size, "system")
    if name.startswith(_MULTIPLY_LONG):
        return Instruction(address, size, "mul_long")
    if name.startswith(_MULTIPLY):
        return Instruction(address, size, "mul")
    if any(o.type == arm.ARM_OP_REG and o.reg == arm.ARM_REG_PC and o.access & capstone.CS_AC_WRITE for o in instruction.operands):
        return Instruction(address, size, "branch", transfer=True, conditional=conditional)  # mov pc, add pc
    if name in _UNPRICED:
        raise _unknown(instruction)
    return Instruction(address, size, "alu")


def _memory(instruction: capstone.CsInsn, name: str, conditional: bool) -> Instruction:
    address, size = instruction.address, instruction.size
    registers = [o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG]
    memory = next((o.mem for o in instruction.operands if o.type == arm.ARM_OP_MEM), None)
    is_load = name.startswith(("ld", "pop"))
    to_pc = is_load and arm.ARM_REG_PC in registers
    if name.startswith(("push", "pop", "ldm", "stm")):
        count = len(registers) - (0 if name.startswith(("push", "pop")) else 1)
        kind = ("load_multiple_pc" if to_pc else "load_multiple") if is_load else "store_multiple"
        return Instruction(address, size, kind, to_pc, conditional and to_pc, count, loaded=4 * count if is_load else 0)
    if name in ("ldrd", "strd"):
        return Instruction(address, size, "load_multiple" if is_load else "store_multiple", registers=2, loaded=8 if is_load else 0)
    if to_pc:
        # capstone gives "pop {pc}" in 32 bits as "ldr pc, [sp], #4"
        return Instruction(address, size, "load_pc", True, conditional, loaded=4)
    if is_load:
        width = 1 if name.endswith("b") else 2 if name.endswith("h") else 4
        literal = memory is not None and memory.base == arm.ARM_REG_PC
        return Instruction(address, size, "load", loads=frozenset(registers[:1]), loaded=width, literal=literal)
    indexed = memory is not None and memory.index != 0
    return Instruction(address, size, "store_register_offset" if indexed else "store")


def _float(instruction: capstone.CsInsn, name: str) -> Instruction:
    address, size = instruction.address, instruction.size
    listed = [o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG]
    registers = sum(2 if arm.ARM_REG_D0 <= register <= arm.ARM_REG_D31 else 1 for register in listed)  # of a word each
    if name in ("vldr", "vstr"):
        wide = arm.ARM_REG_D0 <= instruction.operands[0].reg <= arm.ARM_REG_D31
        return Instruction(
            address, size, "float_load" if name == "vldr" else "float_store", loaded=0 if name == "vstr" else 8 if wide else 4
        )
    if name.startswith(("vldm", "vpop")):
        return Instruction(address, size, "load_multiple", registers=registers, loaded=4 * registers)
    if name.startswith(("vstm", "vpush")):
        return Instruction(address, size, "store_multiple", registers=registers)
    if name in ("vdiv", "vsqrt"):
        return Instruction(address, size, "float_div")
    if name.startswith(_FLOAT_MAC):
        return Instruction(address, size, "float_mac")
    if name.startswith(_FLOAT_ONE):
        return Instruction(address, size, "float")
    raise _unknown(instruction)


def _unknown(instruction: capstone.CsInsn) -> UnknownInstruction:
    return UnknownInstruction(f"'{instruction.mnemonic} {instruction.op_str}' at {instruction.address:#x} has no timing class")


_CONDITIONS = {
    getattr(arm, f"ARM_CC_{name.upper()}"): name
    for name in ("eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
}
