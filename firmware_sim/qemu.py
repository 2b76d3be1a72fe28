"""Runs firmware in QEMU with the counting plugin: samples in, dump and profile out."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_sim.elf import Symbol, read_symbols
from firmware_sim.plugin import plugin_library
from firmware_sim.profile import VISITS
from firmware_sim.targets import Target
from realm_edge.errors import UserError
from realm_edge.segments import Starts

# Markers in the order of the profile's columns: those of firmware/regions.c, and the one of validation/programs.
REGIONS = ("outside", "frontend", "decoder", "send", "reset", "program")
DEBIAN_PACKAGES = "qemu-system-arm qemu-system-misc"
VERSIONS = ((7, 2), (8, 2))  # plugin API version 1, which the plugin declares: QEMU 7.2 up to 8.2
EXIT_TEXT = {
    2: "could not open samples.bin, pauses.bin or dump.bin",
    3: "met a processor fault",
    4: "found a partial block at the end of its samples",
    5: "could not write dump.bin",
}


@dataclass(frozen=True)
class Emulator:
    """A QEMU program that can load the plugin."""

    path: str
    version: str


def find_emulator(name: str) -> Emulator:
    """Locate a QEMU system emulator and check its version.

    Raises:
        UserError: it is not installed, or its version has another plugin interface.
    """
    path = shutil.which(name)
    if path is None:
        raise UserError(f"{name} is not installed: on Debian 'apt-get install {DEBIAN_PACKAGES}'")
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\d+)\.(\d+)\S*", text)
    if not match or not VERSIONS[0] <= (int(match[1]), int(match[2])) <= VERSIONS[1]:
        found = match[0] if match else "unknown version"
        low, high = (".".join(map(str, v)) for v in VERSIONS)
        raise UserError(
            f"{path}: {found} cannot load the counting plugin; use QEMU {low} to {high} (Debian 12: 'apt-get install {DEBIAN_PACKAGES}')"
        )
    return Emulator(path, match[0].removeprefix("version "))


@dataclass(frozen=True)
class Run:
    """What one execution left behind."""

    dump: NDArray[np.uint8]  # (bytes,) what board_trace wrote
    stack_used: int  # bytes, high-water mark
    profile: Path
    emulator: Emulator


def run_firmware(
    elf: Path, target: Target, samples: NDArray[np.int16], folder: Path, timeout_s: float = 900.0, starts: Starts = (0,)
) -> Run:
    """Execute ``elf`` on ``samples`` until they end.

    Args:
        samples: (ticks, values a tick).
        folder: working folder of the emulator; receives profile.txt and visits.bin, and while it runs samples.bin, pauses.bin and dump.bin.
        starts: bins at which segments start, the first at 0; before the others the board tells of a pause.

    Raises:
        UserError: QEMU is missing or of the wrong version, the run took longer than ``timeout_s``, or the firmware ended with an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dump, profile = folder / "dump.bin", folder / "profile.txt"
    for stale in (dump, profile, folder / VISITS):
        stale.unlink(missing_ok=True)
    inputs = {"samples.bin": np.ascontiguousarray(samples, dtype="<i2"), "pauses.bin": np.asarray(starts[1:], dtype="<u4")}
    for name, values in inputs.items():
        values.tofile(folder / name)
    emulator = execute(elf, target, folder, timeout_s)
    content = np.fromfile(dump, dtype=np.uint8)
    for path in (dump, *(folder / name for name in inputs)):  # kept only when the run failed
        path.unlink()
    return Run(content[:-4], int(content[-4:].view("<u4")[0]), profile, emulator)


def present_markers(symbols: dict[str, Symbol]) -> dict[str, Symbol]:
    """The region markers that were linked, by region, in the order of :data:`REGIONS`."""
    return {name: symbols[f"realm_region_{name}"] for name in REGIONS if f"realm_region_{name}" in symbols}


def execute(
    elf: Path, target: Target, folder: Path, timeout_s: float, *, serial: str = "none", crossings: bool = False, single_step: bool = False
) -> Emulator:
    """Run ``elf`` in ``folder`` until it ends; leaves ``profile.txt`` and ``visits.bin`` there. Raises as :func:`run_firmware`.

    Args:
        serial: where QEMU sends what the firmware writes to its UART.
        crossings: count data accesses across word boundaries, at a call an access.
        single_step: end each block after one instruction, so that none is counted that WFI kept from running, and let virtual time
            pass by instructions (128 ns each), so that a timer interrupts each run at the same places.
    """
    emulator = find_emulator(target.machine.emulator)
    markers = ",".join(f"{name}={symbol.address:x}" for name, symbol in present_markers(read_symbols(elf)).items())
    library = str(plugin_library()).replace(",", ",,")
    counted = f"profile=profile.txt,visits={VISITS},{markers}{',crossings=on' if crossings else ''}"
    command = [emulator.path, *target.machine.arguments, "-display", "none", "-monitor", "none", "-serial", serial]
    command += ["-semihosting-config", "enable=on,target=native", "-plugin", f"{library},{counted}"]
    command += ["-singlestep", "-icount", "shift=7,sleep=off"] if single_step else []
    command += ["-kernel", str(elf.resolve())]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{elf}: still running in {target.machine.emulator} after {timeout_s:.0f} s; simulate fewer bins or raise the timeout"
        ) from error
    if done.returncode:
        words = EXIT_TEXT.get(done.returncode, f"ended with status {done.returncode}")
        detail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"{elf}: the firmware {words} in {target.machine.emulator} ({detail[0]}); rerun 'realm-edge compile'")
    return emulator
