"""Finds QEMU, tries the counting plugin out with it, and starts it with the plugin."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from firmware_sim.build import compile_sources, copy_firmware, link
from firmware_sim.builds import Machine
from firmware_sim.elf import Symbol, code_of, read_symbols
from firmware_sim.plugin import INTERFACES, plugin_library
from firmware_sim.profile import VISITS, read_profile
from firmware_sim.targets import Target
from realm_edge.doctor import Item
from realm_edge.errors import UserError

# Markers in the order of the profile's columns: those of firmware/regions.c, and the one of validation/programs.
REGIONS = ("outside", "frontend", "decoder", "send", "reset", "program")
# First and last release that this ran with, 10.0 between. Others are not refused by their number: the trial shows whether they serve.
OLDEST, NEWEST = (7, 2), (11, 1)
REMEDY = (
    f"put QEMU {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, built with plugins, on the PATH "
    "(Debian 12 and 13: 'apt-get install qemu-system-arm qemu-system-misc')"
)
PROFILE = "profile.txt"
STEPPED_TIME = "shift=7,sleep=off"  # virtual time passes by instructions, 128 ns each
TRIAL_ROUNDS, TRIAL_TIMEOUT_S = 1000, 60.0


class EmulatorError(UserError):
    """QEMU cannot be used: why, and what to do."""

    def __init__(self, reason: str, remedy: str = REMEDY) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Emulator:
    """A QEMU program with which the plugin counts right."""

    path: str
    version: str
    interface: int  # one of the plugin's INTERFACES

    @property
    def remark(self) -> str:
        """What is to be said of a QEMU that is newer or older than those that this ran with; otherwise empty."""
        if OLDEST <= release(self.version) <= NEWEST:
            return ""
        return f"QEMU {self.version} was never tested with this; a trial of the counting plugin went well"


def release(version: str) -> tuple[int, int]:
    """(major, minor) of a version; (0, 0) when it is none."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def find_emulator(target: Target) -> Emulator:
    """Locate the QEMU of a target's machine and try it out: the first time in a process that takes a second.

    Raises:
        EmulatorError: it is not installed, cannot load the plugin, or the plugin counts wrong with it.
        UserError: the plugin or the trial's program cannot be compiled.
    """
    path = shutil.which(target.machine.emulator)
    if path is None:
        raise EmulatorError(f"{target.machine.emulator} is not installed")
    return _tried(path, target)


def emulator_items(targets: Iterable[Target]) -> list[Item]:
    """For ``realm-edge doctor``: each emulator that the targets need, tried out with the first of them."""
    first = {target.machine.emulator: target for target in reversed(list(targets))}
    return [_item(name, target) for name, target in sorted(first.items())]


def start(
    emulator: Emulator, elf: Path, target: Target, folder: Path, timeout_s: float, *, serial: str, crossings: bool, single_step: bool
) -> subprocess.CompletedProcess[str]:
    """Run ``elf`` in ``folder`` until it ends; the plugin leaves :data:`PROFILE` and ``visits.bin`` there.

    Arguments as of :func:`firmware_sim.qemu.execute`. Raises subprocess.TimeoutExpired.
    """
    counted = [f"{name}={symbol.address:x}" for name, symbol in present_markers(read_symbols(elf)).items()]
    counted += ["crossings=on"] if crossings else []
    line = [*command(emulator, target.machine, counted, serial=serial, single_step=single_step), "-kernel", str(elf.resolve())]
    line += ["-icount", STEPPED_TIME] if single_step else []
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)


def command(emulator: Emulator, machine: Machine, counted: Iterable[str], *, serial: str, single_step: bool) -> list[str]:
    """The command line that starts a machine with the plugin, which is told what is ``counted``; the program is still to be named."""
    library = str(plugin_library(emulator.interface)).replace(",", ",,")
    told = ",".join((f"profile={PROFILE},visits={VISITS}", *counted))
    line = [emulator.path, *machine.arguments, "-display", "none", "-monitor", "none", "-serial", serial]
    line += ["-semihosting-config", "enable=on,target=native", "-plugin", f"{library},{told}"]
    if single_step:  # the option's name changed with QEMU 9, as the interface did
        line += ["-singlestep"] if emulator.interface == 1 else ["-accel", "tcg,one-insn-per-tb=on"]
    return line


def present_markers(symbols: dict[str, Symbol]) -> dict[str, Symbol]:
    """The region markers that were linked, by region, in the order of :data:`REGIONS`."""
    return {name: symbols[f"realm_region_{name}"] for name in REGIONS if f"realm_region_{name}" in symbols}


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that QEMU wrote to stderr."""
    return (done.stderr.strip().splitlines()[-1:] or ["no message"])[0]


@cache
def _tried(path: str, target: Target) -> Emulator:
    """Newest interface first: QEMU refuses those that it does not know, but may accept older ones than it keeps to."""
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\d+\.\d+\S*)", shown)
    version = match[1] if match else "of unknown version"
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as name:
        folder = Path(name)
        elf = _trial_program(target, folder)
        for interface in INTERFACES:
            emulator = Emulator(path, version, interface)
            fault, refused = _trial(emulator, elf, target, folder)
            if not fault:
                return emulator
            if not refused:
                break
    raise EmulatorError(f"{path}: QEMU {version} {fault}")


def _trial_program(target: Target, folder: Path) -> Path:
    names = copy_firmware(("trial.c", "regions.c", target.compiler.startup), folder)
    return link(compile_sources(names, target, folder, [f"-DREALM_TRIAL_ROUNDS={TRIAL_ROUNDS}"]), [], target, folder)


def _trial(emulator: Emulator, elf: Path, target: Target, folder: Path) -> tuple[str, bool]:
    """What is wrong, in words that follow the program's name, or nothing; and whether QEMU refused the plugin's interface."""
    try:
        done = start(emulator, elf, target, folder, TRIAL_TIMEOUT_S, serial="none", crossings=False, single_step=False)
    except subprocess.TimeoutExpired:
        return f"ran a trial program for {TRIAL_TIMEOUT_S:.0f} s without an end", False
    if done.returncode:
        return f"cannot run the counting plugin ({last_words(done)})", "requires API version" in done.stderr
    loop = read_symbols(elf)["realm_trial_loop"]
    code = code_of(elf, loop)
    try:
        blocks = read_profile(folder / PROFILE).blocks
    except UserError as error:
        return f"runs the counting plugin, which left no counts ({error})", False
    inside = [block for block in blocks if loop.address <= block.address < loop.address + loop.size]
    counted, executed = sum(block.instructions * sum(block.counts) for block in inside), 3 * TRIAL_ROUNDS + 1
    if counted != executed:
        return f"runs the counting plugin, which found {counted} instructions where {executed} were executed", False
    if any(code[block.address - loop.address :][: len(block.code)] != block.code for block in inside):
        return "runs the counting plugin, which read other instructions than the program has", False
    return "", False


def _item(name: str, target: Target) -> Item:
    purpose = "runs the firmware"
    try:
        emulator = find_emulator(target)
    except EmulatorError as error:
        return Item(name, f"{purpose}: {error.reason}", True, False, "", error.remedy)
    except UserError as error:
        return Item(name, f"{purpose}: cannot be tried out", True, False, "", str(error))
    return Item(name, f"{purpose}; {emulator.remark}" if emulator.remark else purpose, True, True, emulator.version, "")
