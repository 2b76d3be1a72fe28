"""Helium (the M-profile vector extension, MVE) and low-overhead loops of ARMv8.1-M to timing classes, by capstone's names."""

from dataclasses import replace

import capstone6pwndbg as capstone
from capstone6pwndbg import arm

from firmware_sim.decode.instruction import Instruction, UnknownInstruction

_VECTOR_BITS = 128
_ACCESS_BYTES = {"b": 1, "h": 2, "w": 4}  # of each lane: vldrb, vldrh, vldrw

# By what a scheduler has to know: the pipe, and when the result is there.
_CLASSES = {
    "vector_alu": (
        *("vadd", "vsub", "vqadd", "vqsub", "vhadd", "vrhadd", "vhsub", "vmax", "vmin", "vmaxa", "vmina", "vabs", "vqabs", "vneg", "vqneg"),
        *("vabd", "vand", "vorr", "veor", "vbic", "vorn", "vmvn", "vmov", "vshl", "vshr", "vrev16", "vrev32", "vrev64", "vclz", "vcls"),
        *("vdup", "vidup", "vddup", "vpsel"),
    ),
    "vector_shift": ("vrshl", "vqshl", "vqrshl", "vrshr", "vsli", "vsri", "vshllb", "vshllt", "vmovlb", "vmovlt"),
    "vector_narrow": (
        *(f"v{mode}shrn{half}" for mode in ("", "r", "q", "qr") for half in "bt"),
        *(f"v{mode}n{half}" for mode in ("mov", "qmov", "qmovu") for half in "bt"),
    ),
    "vector_product": ("vmul", "vmulh", "vrmulh", "vmullb", "vmullt", "vqdmulh", "vqrdmulh", "vqdmullb", "vqdmullt"),
    "vector_accumulate": (
        *("vmla", "vmlas"),
        *(f"v{rounded}dml{what}" for rounded in ("q", "qr") for what in ("ah", "ash", "adh", "adhx", "sdh", "sdhx")),
    ),
    "vector_dot": ("vmlav", "vmlava", "vmlalv", "vmlalva", "vmladavx", "vmladavax", "vmlsdav", "vmlsdava", "vaddv", "vaddva"),
    "vector_compare": ("vcmp", "vpt"),
    "predicate": ("vpst", "vpnot", "vctp"),
}
_CLASS_OF = {name: kind for kind, names in _CLASSES.items() for name in names}
_LOOPS = {"dls": "loop_begin", "dlstp": "loop_begin", "wls": "branch", "wlstp": "branch", "le": "loop_end", "letp": "loop_end"}
# Lanes of the destination that these do not write keep what they held; the rest of a class writes all of them.
_KEEPING = ("vector_narrow", "vector_accumulate", "core_to_vector")
_INSERTS = ("vsli", "vsri")


def helium(instruction: capstone.CsInsn, name: str) -> Instruction | None:
    """An instruction of Helium or of a low-overhead loop; None: it is of neither. The M profile has Q registers for Helium alone.

    Args:
        name: the mnemonic without width.

    Raises:
        UnknownInstruction: one of Helium without a class.
    """
    if name in _LOOPS:
        return _loop(instruction, name)
    plain = name[:-1] if instruction.vcc != arm.ARMVCC_None and name not in _CLASS_OF else name  # predicated: "vaddt" is "vadd"
    if plain[:-1] in ("vldr", "vstr") and plain[-1] in _ACCESS_BYTES and _vectors(instruction):
        return _memory(instruction, plain)
    kind = _CLASS_OF.get(plain)
    if kind != "predicate" and not _vectors(instruction):
        return None
    if kind is None:
        raise UnknownInstruction(f"'{instruction.mnemonic} {instruction.op_str}' at {instruction.address:#x} has no timing class")
    return _computed(instruction, plain, _moved(instruction, plain) or kind)


def _loop(instruction: capstone.CsInsn, name: str) -> Instruction:
    kind = _LOOPS[name]
    counts = {arm.ARM_REG_LR}
    reads = counts if kind == "loop_end" else set(instruction.regs_access()[0])
    found = Instruction(instruction.address, instruction.size, kind, form=kind, reads=frozenset(reads), writes=frozenset(counts))
    return found if kind == "loop_begin" else replace(found, transfer=True, conditional=True)


def _memory(instruction: capstone.CsInsn, plain: str) -> Instruction:
    """Contiguous accesses, and those whose addresses are the lanes of a vector: of these the class has their number."""
    reads, writes = (set(found) for found in instruction.regs_access())
    lanes = _VECTOR_BITS // int(instruction.mnemonic.split(".")[1].lstrip("usif"))
    apart, is_load = not all(map(_is_core, _address(instruction))), plain.startswith("vldr")
    kind = f"vector_{'gather' if is_load else 'scatter'}_{lanes}" if apart else f"vector_{'load' if is_load else 'store'}"
    return Instruction(
        instruction.address,
        instruction.size,
        kind,
        form=kind,
        reads=frozenset(reads),
        writes=frozenset(writes),
        updates=frozenset(writes & _address(instruction)),
        loaded=lanes * _ACCESS_BYTES[plain[-1]] if is_load else 0,
    )


def _moved(instruction: capstone.CsInsn, plain: str) -> str | None:
    """The class of a move that is none between vectors."""
    if plain not in ("vmov", "vmvn"):
        return None
    if any(o.type != arm.ARM_OP_REG for o in instruction.operands):
        return "vector_immediate"
    core = [_is_core(o.reg) for o in instruction.operands]
    return ("vector_to_core" if core[0] else "core_to_vector") if any(core) else None


def _computed(instruction: capstone.CsInsn, plain: str, kind: str) -> Instruction:
    """Capstone counts every destination as read, because its lanes may be predicated."""
    reads, writes = (set(found) for found in instruction.regs_access())
    named = [o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG]
    predicated = instruction.vcc != arm.ARMVCC_None
    by_register = kind == "vector_shift" and _is_core(named[-1])
    sums = plain.endswith(("va", "vax")) and kind == "vector_dot"
    if kind in ("predicate", "vector_compare"):  # which have no destination, and no flags for a condition
        reads -= {arm.ARM_REG_CPSR}
        writes.add(arm.ARM_REG_VPR)
    elif not (predicated or sums or by_register or kind in _KEEPING or plain in _INSERTS):
        reads -= set(named[:1]) - set(named[1:])
    if predicated or plain in ("vpsel", "vpnot"):
        reads.add(arm.ARM_REG_VPR)
    return Instruction(instruction.address, instruction.size, kind, form=kind, reads=frozenset(reads), writes=frozenset(writes))


def _vectors(instruction: capstone.CsInsn) -> set[int]:
    named = {o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG} | _address(instruction)
    return {register for register in named if arm.ARM_REG_Q0 <= register <= arm.ARM_REG_Q7}


def _address(instruction: capstone.CsInsn) -> set[int]:
    memory = next((o.mem for o in instruction.operands if o.type == arm.ARM_OP_MEM), None)
    return {register for register in (memory.base, memory.index) if register} if memory is not None else set()


def _is_core(register: int) -> bool:
    return arm.ARM_REG_R0 <= register <= arm.ARM_REG_R12 or register in (arm.ARM_REG_LR, arm.ARM_REG_SP, arm.ARM_REG_PC)
