"""What becomes of an object that LLVM wrote: integer code alone, that programs of every float ABI can link."""

import io
import struct
from collections.abc import Iterator
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

# TVM puts conversions of half floats into every object, which nobody calls. Nothing unwinds through a kernel, and its debug information
# tells of no source.
_DROPPED = (".text.tvm.fp16", ".ARM.exidx", ".ARM.extab", ".eh_frame", ".debug")
_ATTRIBUTES = ".ARM.attributes"
# Attributes of Arm's ABI (ABI for the Arm Architecture, Addenda: 3.3).
_FP_ARCH, _VFP_ARGS, _MVE_ARCH = 10, 28, 48
_TEXTS = {4, 5, 67}  # names of CPU and conformance; of higher tags, all odd ones
_OF_FLOATS = {19, 20, 21, 22, 23, 27, 31, 36, 38}  # rounding, denormals, exceptions, number model, units, goals, halves, their format
_EITHER = 3  # of Tag_ABI_VFP_args: "compatible with both the base and VFP variants"


def plain_object(content: bytes) -> bytes:
    """An object without debug and unwind information and without TVM's helpers; of Arm, with attributes that fit every float ABI.

    Code, relocations and symbols of what stays are as they were.

    Raises:
        ValueError: what stays needs what was dropped: it does not compute with integers alone.
    """
    elf = ELFFile(io.BytesIO(content))
    sections = list(elf.iter_sections())
    dropped = {i for i, section in enumerate(sections) if section.name.startswith(_DROPPED)}
    dropped |= {i for i, s in enumerate(sections) if s["sh_type"] in ("SHT_REL", "SHT_RELA") and s["sh_info"] in dropped}
    (table,) = (section for section in sections if isinstance(section, SymbolTableSection))
    symbols = list(table.iter_symbols())
    kept = [i for i, symbol in enumerate(symbols) if symbol["st_shndx"] not in dropped]
    section_at = {old: new for new, old in enumerate(i for i in range(len(sections)) if i not in dropped)}
    symbol_at = {old: new for new, old in enumerate(kept)}

    def data(section: Any) -> bytes:
        if section is table:
            return b"".join(_symbol(elf, symbols[i].entry, section_at) for i in kept)
        if section["sh_type"] in ("SHT_REL", "SHT_RELA"):
            return b"".join(_relocation(elf, section, entry, symbol_at) for entry in section.iter_relocations())
        return _either_abi(section.data()) if section.name == _ATTRIBUTES else section.data()

    body, headers = bytearray(elf["e_ehsize"]), []
    for index in section_at:
        section, entry = sections[index], sections[index].header.copy()
        found = data(section) if index and section["sh_type"] != "SHT_NOBITS" else b""
        body += bytes(-len(body) % max(1, section["sh_addralign"]))
        entry.sh_offset = len(body) if index else 0
        entry.sh_size = len(found) if found else entry.sh_size
        entry.sh_link = section_at[entry.sh_link]
        if section is table:
            entry.sh_info = sum(symbols[i]["st_info"]["bind"] == "STB_LOCAL" for i in kept)
        elif section["sh_type"] in ("SHT_REL", "SHT_RELA"):
            entry.sh_info = section_at[entry.sh_info]
        body += found
        headers.append(elf.structs.Elf_Shdr.build(entry))
    body += bytes(-len(body) % 8)
    header = elf.header.copy()
    header.e_shoff, header.e_shnum, header.e_shstrndx = len(body), len(headers), section_at[elf["e_shstrndx"]]
    body[: elf["e_ehsize"]] = elf.structs.Elf_Ehdr.build(header)
    return bytes(body) + b"".join(headers)


def frame_bytes(content: bytes, symbol: str) -> int:
    """The most stack that a function takes for itself, by the unwind information of an object; what it calls takes more.

    Raises:
        ValueError: the object does not say.
    """
    elf = ELFFile(io.BytesIO(content))
    size = symbol_bytes(content, symbol)
    about = elf.get_dwarf_info(relocate_dwarf_sections=False)
    entries = [*(about.CFI_entries() if about.has_CFI() else ()), *(about.EH_CFI_entries() if about.has_EH_CFI() else ())]
    # Places of functions are relocations that were not applied, their lengths are not: of functions of one length, the largest frame.
    found = [row["cfa"] for entry in entries if entry.header.get("address_range") == size for row in entry.get_decoded().table]
    if not found or len({cfa.reg for cfa in found}) != 1:  # a frame of variable size is told from another register
        raise ValueError(f"no frame of known size of '{symbol}'")
    return max(cfa.offset for cfa in found)


def symbol_bytes(content: bytes, symbol: str) -> int:
    """Bytes of a function in an object."""
    return next(int(s["st_size"]) for s in _symbols(content) if s.name == symbol)


def _symbols(content: bytes) -> Iterator[Any]:
    for section in ELFFile(io.BytesIO(content)).iter_sections():
        if isinstance(section, SymbolTableSection):
            yield from section.iter_symbols()


def _symbol(elf: ELFFile, entry: Any, section_at: dict[int, int]) -> bytes:
    moved = entry.copy()
    if isinstance(moved.st_shndx, int):
        moved.st_shndx = section_at[moved.st_shndx]
    return bytes(elf.structs.Elf_Sym.build(moved))


def _relocation(elf: ELFFile, section: Any, relocation: Any, symbol_at: dict[int, int]) -> bytes:
    moved, old = relocation.entry.copy(), relocation["r_info_sym"]
    if old not in symbol_at:
        raise ValueError(f"section {section.name} needs a helper of floating point")
    bits = {32: 8, 64: 32}[elf.elfclass]  # of the type
    moved.r_info = symbol_at[old] << bits | relocation["r_info_type"]
    build = elf.structs.Elf_Rela.build if section["sh_type"] == "SHT_RELA" else elf.structs.Elf_Rel.build
    return bytes(build(moved))


def _either_abi(content: bytes) -> bytes:
    """The attributes of a file whose functions neither pass floats nor compute with them; Helium has the registers of floats."""
    aeabi, whole_file, subsection = content.index(b"\0", 5) + 1, 1, 5  # of that: its tag and its length
    attributes, at = {}, aeabi + subsection
    if content[0] != ord("A") or content[aeabi] != whole_file:
        raise ValueError(f"{_ATTRIBUTES} do not begin with those of the whole file")
    while at < len(content):
        tag, end = _uleb(content, at)
        is_text = tag in _TEXTS or (tag > 32 and tag % 2 == 1)
        value, at = (content[end : content.index(b"\0", end) + 1], content.index(b"\0", end) + 1) if is_text else _uleb(content, end)
        attributes[tag] = value
    dropped = _OF_FLOATS if _MVE_ARCH in attributes else {*_OF_FLOATS, _FP_ARCH}
    kept = {tag: value for tag, value in attributes.items() if tag not in dropped} | {_VFP_ARGS: _EITHER}
    body = b"".join(_as_uleb(tag) + (value if isinstance(value, bytes) else _as_uleb(value)) for tag, value in sorted(kept.items()))
    body = bytes([whole_file]) + struct.pack("<I", subsection + len(body)) + body
    vendor = content[5:aeabi]
    return b"A" + struct.pack("<I", 4 + len(vendor) + len(body)) + vendor + body


def _uleb(content: bytes, at: int) -> tuple[int, int]:
    """A number in LEB128, and where it ends."""
    value = shift = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if content[at - 1] < 0x80:
            return value, at


def _as_uleb(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _as_uleb(rest) if rest else bytes([low])
