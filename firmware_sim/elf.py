"""What the simulator needs to know of an ELF file: symbols, sections, and where kernels come from."""

import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from realm_edge.errors import UserError

RAM_CODE = ".ram_text"
FLASH_SECTIONS = (".vectors", RAM_CODE, ".text", ".rodata", ".data")  # code in RAM and .data are stored in flash and copied at reset
RAM_SECTIONS = (RAM_CODE, ".data", ".bss", ".stack")


@dataclass(frozen=True)
class Symbol:
    """A defined symbol; ``address`` without the Thumb bit."""

    name: str
    address: int
    size: int  # bytes
    is_function: bool


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of model, driver and main loop by section; the simulator's own board layer is not among them."""

    sections: dict[str, int]

    @property
    def flash(self) -> int:
        return sum(self.sections[name] for name in FLASH_SECTIONS)

    @property
    def ram(self) -> int:
        return sum(self.sections[name] for name in RAM_SECTIONS)

    @property
    def code_in_ram(self) -> int:
        return self.sections[RAM_CODE]

    @property
    def data_in_ram(self) -> int:
        return self.ram - self.code_in_ram


def read_symbols(path: Path) -> dict[str, Symbol]:
    """Defined functions and objects of an ELF file by name (of equal names the last).

    Raises:
        UserError: missing file, or no ELF file.
    """
    with _open(path) as elf:
        table = elf.get_section_by_name(".symtab")
        found: dict[str, Symbol] = {}
        for entry in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
            kind = entry["st_info"]["type"]
            if entry["st_shndx"] == "SHN_UNDEF" or not entry.name or kind not in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE"):
                continue
            thumb = elf["e_machine"] == "EM_ARM" and kind == "STT_FUNC"
            found[entry.name] = Symbol(
                entry.name, entry["st_value"] & ~1 if thumb else entry["st_value"], entry["st_size"], kind == "STT_FUNC"
            )
        return found


def code_of(path: Path, function: Symbol) -> bytes:
    """The bytes of a function that an ELF file holds.

    Raises:
        UserError: missing file, no ELF file, or no section holds the function.
    """
    with _open(path) as elf:
        for section in elf.iter_sections("SHT_PROGBITS"):
            offset = function.address - section["sh_addr"]
            if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and 0 <= offset < section["sh_size"]:
                return bytes(section.data()[offset : offset + function.size])
    raise UserError(f"{path}: no section holds '{function.name}'; rerun 'realm-edge compile'")


class Loaded(NamedTuple):
    """A section of an object that a program holds in flash; equal ones need not be written again."""

    is_code: bool
    content: bytes
    relocations: bytes


def loaded(path: Path) -> dict[str, Loaded]:
    """The sections of an object, by name, that hold code or constants.

    Raises:
        UserError: missing file, or no ELF file.
    """
    with _open(path) as elf:
        sections = list(elf.iter_sections())
        relocations = {one["sh_info"]: one.data() for one in sections if one["sh_type"] in ("SHT_REL", "SHT_RELA")}
        return {
            section.name: Loaded(bool(section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR), section.data(), relocations.get(index, b""))
            for index, section in enumerate(sections)
            if section["sh_type"] == "SHT_PROGBITS" and section["sh_flags"] & SH_FLAGS.SHF_ALLOC
        }


def memory_use(path: Path) -> MemoryUse:
    """Flash and RAM of an ELF that was linked with this package's script.

    Raises:
        UserError: missing file, or no ELF file.
    """
    with _open(path) as elf:
        sizes = {section.name: section["sh_size"] for section in elf.iter_sections()}
    return MemoryUse({name: sizes.get(name, 0) for name in dict.fromkeys(FLASH_SECTIONS + RAM_SECTIONS)})


class SymbolMap:
    """Which function an address lies in; ``in_ram``: functions that start-up copies to RAM (by default as firmware/memory.ld says)."""

    def __init__(self, symbols: dict[str, Symbol], in_ram: frozenset[str] | None = None) -> None:
        self._functions = sorted((s for s in symbols.values() if s.is_function), key=lambda s: s.address)
        self._starts = [s.address for s in self._functions]
        if in_ram is not None:
            self.in_ram = in_ram
            return
        begin, end = (symbols[name].address if name in symbols else 0 for name in ("realm_ram_text_start", "realm_ram_text_end"))
        self.in_ram = frozenset(function.name for function in self._functions if begin <= function.address < end)

    def function_at(self, address: int) -> str:
        """Name of the function, '?' where no function covers the address."""
        function = self._covering(address)
        return function.name if function else "?"

    def start_of(self, address: int) -> int | None:
        """Where the function begins, None where no function covers the address."""
        function = self._covering(address)
        return function.address if function else None

    def _covering(self, address: int) -> Symbol | None:
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        function = self._functions[index]
        return function if address < function.address + max(function.size, 1) else None


def check_kernel_origin(
    elf: Path, prefixes: tuple[str, ...], kernels: tuple[str, ...], tvm_objects: list[Path], other_objects: list[Path]
) -> None:
    """See that every kernel that was linked is defined by an object that TVM built, and by nothing else.

    Args:
        prefixes: of the stages; a kernel's symbol is ``<prefix>_k<number>_<op>``.
        kernels: symbols that the metadata list.

    Raises:
        UserError: a kernel is not in the ELF, comes from another object, or is not listed in the metadata.
    """
    compiled = {name for path in tvm_objects for name in read_symbols(path)}
    elsewhere = {name: path.name for path in other_objects for name in read_symbols(path)}
    starts = tuple(f"{prefix}_k" for prefix in prefixes)
    linked = {name for name, symbol in read_symbols(elf).items() if symbol.is_function and name.startswith(starts)}
    for name in sorted(linked | set(kernels)):
        reason = None
        if name not in linked:
            reason = "is listed in metadata.json but was not linked"
        elif name not in kernels:
            reason = "was linked but is not listed in metadata.json"
        elif name in elsewhere:
            reason = f"comes from {elsewhere[name]}, not from an object that TVM built"
        elif name not in compiled:
            reason = "is in none of the bundle's lib/*.o"
        if reason:
            raise UserError(f"{elf}: kernel '{name}' {reason}; rerun 'realm-edge compile'")


@contextmanager
def _open(path: Path) -> Iterator[ELFFile]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); rerun 'realm-edge compile'") from error
    with stream:
        try:
            yield ELFFile(stream)
        except ELFError as error:
            raise UserError(f"{path}: not an ELF file ({error}); rerun 'realm-edge compile'") from error
