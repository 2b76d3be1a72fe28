"""What is profiled: a linked bare-metal program in an ELF file, and whether a machine of the simulator can run it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import zip_longest
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, SymbolTableSection

from firmware_sim.compiler.armv6m import check_armv6m
from firmware_sim.cycles.machines import Board, boards
from firmware_sim.elf import Symbol, SymbolMap
from firmware_sim.targets import Target
from realm_edge.errors import UserError
from realm_edge.files import require_regular, sha256_file

MOST_BYTES = 256 << 20
MARKER = "realm_region_"
MOST_MARKERS = 15  # the plugin's MAX_REGIONS without the region before the first marker
MOST_FLASH = 8  # the plugin's MAX_FLASH
_ARCHITECTURES = {"qemu-system-arm": ("EM_ARM", "Arm"), "qemu-system-riscv32": ("EM_RISCV", "RISC-V")}
_BINDINGS = ("STB_GLOBAL", "STB_WEAK", "STB_LOCAL")


@dataclass(frozen=True)
class Program:
    """A program that ``board`` can run.

    Attributes:
        start: address of the first instruction.
        labels: addresses by name, of functions and labels of code.
        functions: what an address belongs to.
        flash: pieces of the address space that a part would have in flash: what is not written and lies where it was loaded.
        markers: by region, where it begins: functions of the name ``realm_region_<region>``.
    """

    path: Path
    sha256: str
    board: Board
    start: int
    labels: dict[str, int]
    functions: SymbolMap
    flash: tuple[range, ...]
    markers: dict[str, int]

    def address_of(self, name: str, option: str) -> int:
        """Where a symbol of the code is.

        Raises:
            UserError: there is none of this name; the message has similar ones.
        """
        if name not in self.labels:
            near = get_close_matches(name, self.labels, 3, 0.5)
            others = f": did you mean {' or '.join(near)}?" if near else "; C++ names are those of the symbol table (nm)"
            raise UserError(f"{option} {name}: {self.path} has no function or label of this name{others}")
        return self.labels[name]


def read_program(path: Path, target: Target) -> Program:
    """Read a program and choose the machine that has memory where it is linked to.

    Raises:
        UserError: no file, no whole ELF file, of another architecture, not linked, dynamic, without symbols, or linked to where none of the
            machines has memory.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file: name a linked program (ELF)")
    require_regular(path)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: {path.stat().st_size >> 20} MiB: no program of a microcontroller has more than {MOST_BYTES >> 20}")
    try:
        with path.open("rb") as stream:
            return _program(path, ELFFile(stream), target)
    except (UserError, OSError):
        raise
    except Exception as error:  # the library checks little: a damaged file breaks it anywhere
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UserError(f"{path}: not a whole ELF file ({reason}): link the program again") from error


@dataclass(frozen=True)
class _Piece:
    """A section that the program has in memory: where it is, and where it was loaded."""

    section: Section
    number: int
    address: int
    loaded: int

    @property
    def nbytes(self) -> int:
        return int(self.section["sh_size"])

    @property
    def written(self) -> bool:
        return bool(self.section["sh_flags"] & SH_FLAGS.SHF_WRITE)

    @property
    def code(self) -> bool:
        return bool(self.section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR)

    @property
    def stored(self) -> bool:
        return bool(self.section["sh_type"] != "SHT_NOBITS")


def _program(path: Path, elf: ELFFile, target: Target) -> Program:
    _check_kind(path, elf, target)
    pieces = list(_pieces(elf))
    if not pieces:
        raise UserError(f"{path}: it has no sections that are loaded: link it, and do not strip its section headers")
    board = _board(path, pieces, target)
    start = int(elf["e_entry"]) if board.vectors is None else _reset(path, pieces, board, board.vectors)
    if not any(piece.code and piece.address <= start < piece.address + piece.nbytes for piece in pieces):
        remedy = (
            "give the linker the symbol it starts at (-e)" if board.vectors is None else "see that its second word is the reset handler"
        )
        raise UserError(f"{path}: it starts at {start:#x}, where it has no code: {remedy}")
    if target.compiler.only_armv6m:
        check_armv6m(path)
    symbols = list(_symbols(elf, {piece.number: piece for piece in pieces if piece.code}))
    functions = _functions(symbols, pieces)
    if not functions:
        raise UserError(f"{path}: it has no symbols of functions: link it without -s, and do not strip it")
    flash = _flash(pieces)
    in_ram = frozenset(name for name, one in functions.items() if not any(one.address in piece for piece in flash))
    labels = {one.name: one.address for one in sorted(symbols, key=_preference, reverse=True)}
    markers = {name.removeprefix(MARKER): at for name, at in sorted(labels.items()) if name.startswith(MARKER)}
    if len(markers) > MOST_MARKERS:
        raise UserError(f"{path}: {len(markers)} regions ({MARKER}...): there may be {MOST_MARKERS}")
    return Program(path, sha256_file(path), board, start, labels, SymbolMap(functions, in_ram), flash, markers)


def _check_kind(path: Path, elf: ELFFile, target: Target) -> None:
    _check_tables(path, elf)
    wanted, architecture = _ARCHITECTURES[target.machine.emulator]
    if elf["e_machine"] != wanted or elf.elfclass != 32 or not elf.little_endian:
        found = f"{elf['e_machine']}, {elf.elfclass} bits, {'little' if elf.little_endian else 'big'}-endian"
        raise UserError(f"{path}: it is for {found}; {target.name} is {architecture} of 32 bits, little-endian: compile it for that")
    if elf["e_type"] == "ET_REL":
        raise UserError(f"{path}: an object file: link it with start-up code and a linker script")
    if elf["e_type"] != "ET_EXEC" or any(one["p_type"] in ("PT_INTERP", "PT_DYNAMIC") for one in elf.iter_segments()):
        raise UserError(f"{path}: not a static program ({elf['e_type']}): link it for bare metal, with -static and without -pie")


def _check_tables(path: Path, elf: ELFFile) -> None:
    """See that what the header tells of lies in the file: the library would read tables of any length."""
    end = path.stat().st_size
    if elf.elfclass != 32:
        return  # refused anyway
    for table, number, entry in (("sh", elf.num_sections(), 40), ("ph", elf.num_segments(), 32)):
        if number and (elf[f"e_{table}entsize"] != entry or elf[f"e_{table}off"] + number * entry > end):
            raise ELFError("a table of it lies behind its end")
    for section in elf.iter_sections():
        stored = section["sh_type"] not in ("SHT_NOBITS", "SHT_NULL")
        if stored and section["sh_offset"] + section["sh_size"] > end:
            raise ELFError("a section of it lies behind its end")
        if section["sh_type"] == "SHT_SYMTAB" and section["sh_entsize"] != 16:
            raise ELFError("its symbols are not of 16 bytes")


def _pieces(elf: ELFFile) -> Iterator[_Piece]:
    loads = [one for one in elf.iter_segments() if one["p_type"] == "PT_LOAD"]
    for number, section in enumerate(elf.iter_sections()):
        if not section["sh_flags"] & SH_FLAGS.SHF_ALLOC or not section["sh_size"]:
            continue
        at = int(section["sh_addr"])
        around = next((one for one in loads if one["p_vaddr"] <= at < one["p_vaddr"] + one["p_memsz"]), None)
        if around is not None:
            yield _Piece(section, number, at, at - around["p_vaddr"] + around["p_paddr"])


def _board(path: Path, pieces: Sequence[_Piece], target: Target) -> Board:
    """The first machine that has memory wherever the program needs it; a vector table only where its core looks for it."""
    known = boards(target.build)
    for board in known:
        if not _missing(pieces, board) and (board.vectors is None or _at(pieces, board.vectors, 8)):
            return board
    missing = _missing(pieces, known[0])
    if missing is None:
        raise UserError(
            f"{path}: no vector table at {known[0].vectors:#x}, where the simulated core ({known[0].name}) looks for it: "
            "have the linker script put it there"
        )
    first, size, name = missing
    has = "; ".join(f"{board.name}: {board.places()}" for board in known)
    raise UserError(
        f"{path}: section {name} lies at {first:#x} to {first + size - 1:#x}, where the simulated machine has no memory ({has}): "
        f"link it for {target.name} to these addresses"
    )


def _missing(pieces: Sequence[_Piece], board: Board) -> tuple[int, int, str] | None:
    """Address, bytes and name of the first section for which there is no memory, where it is or where it is loaded."""
    for piece in pieces:
        for at in (piece.address, piece.loaded) if piece.stored else (piece.address,):
            if not board.holds(at, piece.nbytes):
                return at, piece.nbytes, piece.section.name
    return None


def _at(pieces: Sequence[_Piece], address: int, nbytes: int) -> bytes:
    """What is loaded at an address; empty where less than ``nbytes`` is."""
    for piece in pieces:
        if piece.stored and piece.loaded <= address and address + nbytes <= piece.loaded + piece.nbytes:
            return bytes(piece.section.data()[address - piece.loaded :][:nbytes])
    return b""


def _reset(path: Path, pieces: Sequence[_Piece], board: Board, vectors: int) -> int:
    """Where the vector table has the core begin."""
    table = _at(pieces, vectors, 8)
    stack, reset = (int.from_bytes(table[i : i + 4], "little") for i in (0, 4))
    if not board.holds(stack - 4, 4) or not reset & 1:
        raise UserError(
            f"{path}: at {vectors:#x} there is no vector table (stack {stack:#x}, reset {reset:#x}): the stack must be in memory "
            f"({board.places()}) and the reset handler's address odd"
        )
    return reset & ~1


@dataclass(frozen=True)
class _Label:
    """A symbol of code."""

    name: str
    address: int
    size: int
    is_function: bool
    binding: int  # place in _BINDINGS
    file: str
    section: int


def _preference(label: _Label) -> tuple:
    """The smallest goes before others at the same address, or of the same name."""
    return (not label.is_function, not label.size, label.binding, len(label.name), label.name, label.address)


def _symbols(elf: ELFFile, code: dict[int, _Piece]) -> Iterator[_Label]:
    """Functions, and labels of assembler, which often have neither type nor size; without the marks that compilers leave."""
    arm = elf["e_machine"] == "EM_ARM"
    for table in elf.iter_sections():
        if not isinstance(table, SymbolTableSection) or table["sh_type"] != "SHT_SYMTAB":
            continue
        file = ""
        for entry in table.iter_symbols():
            kind, binding = entry["st_info"]["type"], entry["st_info"]["bind"]
            if kind == "STT_FILE":
                file = entry.name
            if entry["st_shndx"] not in code or kind not in ("STT_FUNC", "STT_NOTYPE") or not entry.name or entry.name[0] in "$":
                continue
            if entry.name.startswith(".L") or binding not in _BINDINGS:
                continue
            address = entry["st_value"] & ~1 if arm else entry["st_value"]
            if address >= code[entry["st_shndx"]].address + code[entry["st_shndx"]].nbytes:
                continue  # the linker script's mark of a section's end
            own = file if binding == "STB_LOCAL" else ""
            place = _BINDINGS.index(binding)
            yield _Label(entry.name, address, entry["st_size"], kind == "STT_FUNC", place, own, entry["st_shndx"])


def _functions(labels: Iterable[_Label], pieces: Sequence[_Piece]) -> dict[str, Symbol]:
    """One function for each piece of code, by a name that no other has. What has no size reaches to the next, or to its section's end."""
    at: defaultdict[int, list[_Label]] = defaultdict(list)
    for label in labels:
        at[label.address].append(label)
    chosen: list[_Label] = []
    for address in sorted(at):
        best = min(at[address], key=_preference)
        inside = chosen and chosen[-1].size and address < chosen[-1].address + chosen[-1].size
        if best.is_function or not inside:
            chosen.append(best)
    ends = {piece.number: piece.address + piece.nbytes for piece in pieces}
    same = Counter(label.name for label in chosen)
    found: dict[str, Symbol] = {}
    for label, behind in zip_longest(chosen, chosen[1:]):
        end = ends[label.section] if behind is None or behind.section != label.section else behind.address
        name = label.name if same[label.name] == 1 else f"{label.name} ({label.file or 'global'})"
        name = name if name not in found else f"{name} at {label.address:#x}"
        found[name] = Symbol(name, label.address, label.size or end - label.address, True)
    return found


def _flash(pieces: Iterable[_Piece]) -> tuple[range, ...]:
    held = sorted((piece.address, piece.address + piece.nbytes) for piece in pieces if _in_flash(piece))
    gap = 64
    while True:
        merged: list[list[int]] = []
        for first, behind in held:
            if merged and first - merged[-1][1] <= gap:
                merged[-1][1] = max(behind, merged[-1][1])
            else:
                merged.append([first, behind])
        if len(merged) <= MOST_FLASH:
            return tuple(range(*each) for each in merged)
        gap *= 2


def _in_flash(piece: _Piece) -> bool:
    return piece.stored and not piece.written and piece.address == piece.loaded
