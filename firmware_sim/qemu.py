"""Runs firmware in QEMU with the counting plugin: samples in, dump and profile out."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_sim.emulator import PROFILE, Emulator, find_emulator, last_words, start
from firmware_sim.profile import VISITS
from firmware_sim.targets import Target
from realm_edge.errors import UserError

EXIT_TEXT = {
    2: "could not open samples.bin, pauses.bin or dump.bin",
    3: "met a processor fault",
    4: "found a partial block at the end of its samples",
    5: "could not write dump.bin",
}


@dataclass(frozen=True)
class Run:
    """What one execution left behind."""

    dump: NDArray[np.uint8]  # (bytes,) what board_trace wrote
    stack_used: int  # bytes, high-water mark
    profile: Path
    emulator: Emulator


def run_firmware(
    elf: Path, target: Target, samples: NDArray[np.int16], folder: Path, timeout_s: float = 900.0, pauses: Sequence[int] = ()
) -> Run:
    """Execute ``elf`` on ``samples`` until they end.

    Args:
        samples: (ticks, values per tick).
        folder: working folder of the emulator; receives profile.txt and visits.bin, and while it runs samples.bin, pauses.bin and dump.bin.
        pauses: blocks before which the board tells of a pause.

    Raises:
        UserError: QEMU is missing or cannot run the plugin, the run took longer than ``timeout_s``, or the firmware ended with an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dump, profile = folder / "dump.bin", folder / PROFILE
    for stale in (dump, profile, folder / VISITS):
        stale.unlink(missing_ok=True)
    inputs = {"samples.bin": np.ascontiguousarray(samples, dtype="<i2"), "pauses.bin": np.asarray(pauses, dtype="<u4")}
    for name, values in inputs.items():
        values.tofile(folder / name)
    emulator = execute(elf, target, folder, timeout_s)
    content = np.fromfile(dump, dtype=np.uint8)
    for path in (dump, *(folder / name for name in inputs)):  # kept only when the run failed
        path.unlink()
    return Run(content[:-4], int(content[-4:].view("<u4")[0]), profile, emulator)


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
    emulator = find_emulator(target)
    try:
        done = start(emulator, elf, target, folder, timeout_s, serial=serial, crossings=crossings, single_step=single_step)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{elf}: still running in {target.machine.emulator} after {timeout_s:.0f} s; simulate fewer bins or raise the timeout"
        ) from error
    if done.returncode:
        words = EXIT_TEXT.get(done.returncode, f"ended with status {done.returncode}")
        raise UserError(f"{elf}: the firmware {words} in {target.machine.emulator} ({last_words(done)}); rerun 'realm-edge compile'")
    return emulator
