"""One program on a core's RTL and in the emulator, priced by the core's table: the same ELF, the same regions."""

import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from firmware_sim.attribution import RegionCost, count_cycles
from firmware_sim.cores import CoreTable
from firmware_sim.elf import Symbol, SymbolMap, read_symbols
from firmware_sim.emulator import present_markers
from firmware_sim.memory import no_stalls
from firmware_sim.profile import read_profile
from firmware_sim.qemu import execute
from firmware_sim.targets import Target
from firmware_sim.wait_states import Waits, wait_stalls
from realm_edge.errors import UserError

CYCLE_LIMIT = 50_000_000


@dataclass
class RtlCost:
    """Of one function in one region."""

    cycles: int = 0
    instructions: int = 0


@dataclass(frozen=True)
class RtlRegion:
    """Of one region over the whole run; ``cycles`` without those asleep."""

    visits: int
    cycles: int
    asleep: int
    functions: dict[str, RtlCost]


@dataclass(frozen=True)
class RtlRun:
    """What the test bench counted, and what the program sent over the UART."""

    regions: dict[str, RtlRegion]
    text: str


def run_rtl(bench: Path, elf: Path, folder: Path, instruction_wait: int = 0, data_wait: int = 0) -> RtlRun:
    """Run ``elf`` on the RTL.

    Args:
        folder: receives the counts.
        instruction_wait, data_wait: wait states of the two memory ports.

    Raises:
        UserError: the program failed, or did not end.
    """
    symbols = read_symbols(elf)
    markers = [f"{name}={marker.address:x}:{max(marker.size, 2)}" for name, marker in present_markers(symbols).items()]
    counts = folder / "rtl.txt"
    command = [str(bench), str(elf), str(counts), str(instruction_wait), str(data_wait), str(CYCLE_LIMIT), *markers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(f"{elf}: failed on the RTL ({bench.name}): {words}")
    return RtlRun(_read_counts(counts, symbols), done.stdout)


def _read_counts(path: Path, symbols: dict[str, Symbol]) -> dict[str, RtlRegion]:
    functions = SymbolMap(symbols)
    regions: dict[str, RtlRegion] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        record, *fields = line.split()
        if record == "region":
            regions[fields[0]] = RtlRegion(int(fields[1]), int(fields[2]), int(fields[3]), {})
            continue
        function = functions.function_at(int(fields[0], 16))
        for region, cycles, instructions in zip(regions.values(), fields[1::2], fields[2::2], strict=True):
            if cycles != "0" or instructions != "0":
                cost = region.functions.setdefault(function, RtlCost())
                cost.cycles += int(cycles)
                cost.instructions += int(instructions)
    return regions


@dataclass(frozen=True)
class ModelRun:
    """What the emulator executed."""

    elf: Path
    profile: Path
    text: str

    def price(self, table: CoreTable, waits: Waits | None = None) -> dict[str, RegionCost]:
        """Cycles of each region by ``table``."""
        memory = partial(wait_stalls, waits) if waits else no_stalls
        return count_cycles(read_profile(self.profile), table, SymbolMap(read_symbols(self.elf)), memory)


def run_emulator(elf: Path, target: Target, folder: Path, single_step: bool = False) -> ModelRun:
    """Run ``elf`` in the emulator. Raises as :func:`firmware_sim.qemu.execute`."""
    execute(elf, target, folder, 300.0, serial="file:uart.txt", crossings=True, single_step=single_step)
    return ModelRun(elf, folder / "profile.txt", (folder / "uart.txt").read_text(encoding="ascii"))
