"""Proof that an object or image holds ARMv6-M instructions alone, for cores whose code runs on a larger core in the simulator."""

from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from realm_edge.errors import UserError

SHF_EXECINSTR = 0x4


def check_armv6m(elf: Path) -> int:
    """Look at every instruction of every code section.

    ARMv6-M has the 16-bit Thumb instructions without IT, CBZ and CBNZ, and of the 32-bit ones BL, DMB, DSB, ISB, MRS and MSR
    (ARMv6-M ARM, Arm DDI 0419, A5.2 and A5.3). Mapping symbols ($t, $d) tell code from constants.

    Returns:
        How many instructions were looked at.

    Raises:
        UserError: an instruction that ARMv6-M does not have, or code without mapping symbols.
    """
    checked = 0
    with elf.open("rb") as stream:
        file = ELFFile(stream)
        marks = _mapping_symbols(file)
        for index, section in enumerate(file.iter_sections()):
            if section["sh_type"] != "SHT_PROGBITS" or not section["sh_flags"] & SHF_EXECINSTR or not section["sh_size"]:
                continue
            base = section["sh_addr"]
            edges = sorted((address - base, kind) for address, kind in marks.get(index, ()))
            if not edges:
                if section.name == ".vectors":
                    continue
                raise UserError(f"{elf}: section {section.name} has no mapping symbols: its code cannot be checked; compile it unstripped")
            ends = [offset for offset, _ in edges[1:]] + [section["sh_size"]]
            for (start, kind), end in zip(edges, ends, strict=True):
                if kind == "$t":
                    checked += _check(section.data()[start:end], base + start, f"{elf}: section {section.name}")
    return checked


def is_armv6m(first: int, second: int) -> bool:
    """Whether ARMv6-M has the instruction that begins with the halfword ``first``; ``second`` follows it."""
    if first >> 11 in (0b11101, 0b11110, 0b11111):
        link = first >> 11 == 0b11110 and second & 0xD000 == 0xD000
        barrier = first == 0xF3BF and second & 0xFFF0 in (0x8F40, 0x8F50, 0x8F60)
        special = (first & 0xFFF0 == 0xF380 and second & 0xFF00 == 0x8800) or (first == 0xF3EF and second & 0xF000 == 0x8000)
        return link or barrier or special
    compare_and_branch = first & 0xF500 == 0xB100
    if_then = first & 0xFF00 == 0xBF00 and first & 0xF != 0
    return not compare_and_branch and not if_then


def _check(code: bytes, address: int, where: str) -> int:
    halves = [int.from_bytes(code[i : i + 2], "little") for i in range(0, len(code) - 1, 2)] + [0]
    at = count = 0
    while at < len(halves) - 1:
        if not is_armv6m(halves[at], halves[at + 1]):
            found = f"{halves[at]:04x} {halves[at + 1]:04x} at {address + 2 * at:#x}"
            raise UserError(f"{where}: {found} is no ARMv6-M instruction; compile everything for cortex-m0plus")
        at += 2 if halves[at] >> 11 >= 0b11101 else 1
        count += 1
    return count


def _mapping_symbols(file: ELFFile) -> dict[int, list[tuple[int, str]]]:
    """By section index: address (in an object: offset) and kind, '$t' or '$d'."""
    found: dict[int, list[tuple[int, str]]] = {}
    for table in file.iter_sections():
        if isinstance(table, SymbolTableSection):
            for symbol in table.iter_symbols():
                kind = symbol.name[:2]
                if kind in ("$t", "$d") and isinstance(symbol["st_shndx"], int):
                    found.setdefault(symbol["st_shndx"], []).append((symbol["st_value"], kind))
    return found
