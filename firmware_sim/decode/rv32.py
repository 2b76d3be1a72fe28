"""RV32IMC to timing classes (The RISC-V Instruction Set Manual, volume I: base opcodes, M and C extensions)."""

from firmware_sim.decode.instruction import Instruction, UnknownInstruction

_RETURN_ADDRESS, _STACK_POINTER = 1, 2
# Control and status registers whose access takes longer on some core (The RISC-V Instruction Set Manual, volume II, CSR listing).
_MSTATUS, _MIE = 0x300, 0x304
_TRAP_AND_COUNTERS = frozenset({0x305, 0x320, 0x341, 0x342, 0xB00, 0xB02, 0xB80, 0xB82})  # mtvec, mcountinhibit, mepc, mcause, counters


def decode_rv32(code: bytes, address: int, count: int | None = None) -> list[Instruction]:
    """Decode a block of RV32IMC code.

    Args:
        code: the block's bytes.
        address: of the first instruction.
        count: instructions in the block; None: as many as ``code`` holds.

    Raises:
        UnknownInstruction: an encoding outside RV32IMC and Zicsr.
    """
    found: list[Instruction] = []
    at = 0
    while at < len(code) if count is None else len(found) < count:
        if at >= len(code):
            raise UnknownInstruction(f"the block at {address:#x} ends before its {count} instructions")
        size = 4 if code[at] & 3 == 3 else 2
        word = int.from_bytes(code[at : at + size], "little")
        found.append((_full if size == 4 else _compressed)(word, address + at))
        at += size
    return found


def _registers(*numbers: int) -> frozenset[int]:
    return frozenset(numbers) - {0}  # x0 is no dependency


def _full(word: int, address: int) -> Instruction:
    opcode, rd, funct3 = word & 0x7F, word >> 7 & 31, word >> 12 & 7
    rs1, rs2, funct7 = word >> 15 & 31, word >> 20 & 31, word >> 25
    match opcode:
        case 0x03:
            return Instruction(address, 4, "load", loads=_registers(rd), reads=_registers(rs1), loaded=1 << (funct3 & 3))
        case 0x23:
            return Instruction(address, 4, "store", reads=_registers(rs1, rs2))
        case 0x63:
            return Instruction(address, 4, "branch", transfer=True, conditional=True, reads=_registers(rs1, rs2))
        case 0x6F:
            return Instruction(address, 4, "jump", transfer=True, writes=_registers(rd))
        case 0x67:
            return Instruction(address, 4, "jump", transfer=True, reads=_registers(rs1), writes=_registers(rd))
        case 0x33 if funct7 == 1:
            kind = "mul" if funct3 == 0 else "mulh" if funct3 < 4 else "div"
            return Instruction(address, 4, kind, reads=_registers(rs1, rs2), writes=_registers(rd))
        case 0x33 if funct7 in (0, 0x20):
            return Instruction(address, 4, "alu", reads=_registers(rs1, rs2), writes=_registers(rd))
        case 0x13:
            return Instruction(address, 4, "alu", reads=_registers(rs1), writes=_registers(rd))
        case 0x37 | 0x17:  # lui, auipc
            return Instruction(address, 4, "alu", writes=_registers(rd))
        case 0x0F:
            return Instruction(address, 4, "fence_i" if funct3 else "fence")
        case 0x73 if funct3:
            reads = _registers(rs1) if funct3 < 4 else frozenset()
            return Instruction(address, 4, _csr_kind(word >> 20, funct3 & 3, rs1), reads=reads, writes=_registers(rd))
        case 0x73 if word == 0x10500073:
            return Instruction(address, 4, "wfi")
        case 0x73 if word == 0x30200073:
            return Instruction(address, 4, "mret", transfer=True)
        case 0x73:  # ecall, ebreak: neither belongs in a counted region
            return Instruction(address, 4, "system", transfer=True)
    raise UnknownInstruction(f"{word:08x} at {address:#x} is not RV32IMC")


def _csr_kind(register: int, operation: int, source: int) -> str:
    sets = operation == 1 or (operation == 2 and source != 0)  # csrrw, csrrs; csrrs with x0 only reads
    if register == _MSTATUS:
        return "csr_status_set" if sets else "csr_status"
    if register == _MIE and sets:
        return "csr_enable_set"
    return "csr_trap" if register in _TRAP_AND_COUNTERS else "csr"


def _compressed(word: int, address: int) -> Instruction:
    quadrant, funct3 = word & 3, word >> 13
    rd, rs2 = word >> 7 & 31, word >> 2 & 31
    rd_short, rs2_short = 8 + (word >> 7 & 7), 8 + (word >> 2 & 7)
    match quadrant, funct3:
        case 0, 0 if word:  # c.addi4spn
            return Instruction(address, 2, "alu", reads=_registers(_STACK_POINTER), writes=_registers(rs2_short))
        case 0, 2:  # c.lw
            return Instruction(address, 2, "load", loads=_registers(rs2_short), reads=_registers(rd_short), loaded=4)
        case 0, 6:  # c.sw
            return Instruction(address, 2, "store", reads=_registers(rd_short, rs2_short))
        case 1, 0:  # c.addi, c.nop
            return Instruction(address, 2, "alu", reads=_registers(rd), writes=_registers(rd))
        case 1, (1 | 5):  # c.jal, c.j
            return Instruction(address, 2, "jump", transfer=True, writes=_registers(_RETURN_ADDRESS) if funct3 == 1 else frozenset())
        case 1, 2:  # c.li
            return Instruction(address, 2, "alu", writes=_registers(rd))
        case 1, 3:  # c.lui, c.addi16sp
            return Instruction(address, 2, "alu", reads=_registers(rd) if rd == _STACK_POINTER else frozenset(), writes=_registers(rd))
        case 1, 4:  # shifts and c.andi: one register; c.sub, c.xor, c.or, c.and: two
            two = (word >> 10 & 3) == 3
            reads = _registers(rd_short, rs2_short) if two else _registers(rd_short)
            return Instruction(address, 2, "alu", reads=reads, writes=_registers(rd_short))
        case 1, (6 | 7):  # c.beqz, c.bnez
            return Instruction(address, 2, "branch", transfer=True, conditional=True, reads=_registers(rd_short))
        case 2, 0:  # c.slli
            return Instruction(address, 2, "alu", reads=_registers(rd), writes=_registers(rd))
        case 2, 2:  # c.lwsp
            return Instruction(address, 2, "load", loads=_registers(rd), reads=_registers(_STACK_POINTER), loaded=4)
        case 2, 4:
            return _compressed_register(word, address, rd, rs2)
        case 2, 6:  # c.swsp
            return Instruction(address, 2, "store", reads=_registers(_STACK_POINTER, rs2))
    raise UnknownInstruction(f"{word:04x} at {address:#x} is not RV32IMC")


def _compressed_register(word: int, address: int, rd: int, rs2: int) -> Instruction:
    if rs2:  # c.mv reads one register, c.add two
        reads = _registers(rd, rs2) if word >> 12 & 1 else _registers(rs2)
        return Instruction(address, 2, "alu", reads=reads, writes=_registers(rd))
    if rd:  # c.jr, c.jalr
        link = _registers(_RETURN_ADDRESS) if word >> 12 & 1 else frozenset()
        return Instruction(address, 2, "jump", transfer=True, reads=_registers(rd), writes=link)
    return Instruction(address, 2, "system", transfer=True)  # c.ebreak
