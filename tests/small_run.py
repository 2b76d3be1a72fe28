"""A whole run that is over soon: 12 s of recording, a decoder of a few hundred parameters, one target; and what of it has to be equal."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from firmware_sim.targets import get_target

TARGET = "rv32imc"
TINY = "d_model = 8\nn_layer = 1\nd_state = 4\nheaddim = 4\n"
FIT = "epochs = {0}\npatience = {0}\nbatch = 4\n"
CONFIG = (
    f"window_bins = 25\n[lfp]\nrate_hz = 500\nbands_hz = [[40.0, 60.0]]\n[teacher]\n{TINY}[student]\n{TINY}"
    f"[pretrain]\nblock_bins = [2, 6]\n{FIT.format(4)}[distil]\n{FIT.format(10)}[finetune]\n{FIT.format(10)}"
)
BUDGET = '[flash_bytes]\nlimit = 1e6\nsource = "test"\n'
SECONDS, CHANNELS, RATE = 12, 3, 500
# Curves for TensorBoard: their names and contents hold the host, the process and times of day; nothing reads them.
# Wall seconds: what a stage took. Options of the command line with their paths, for messages that name the command. The lock.
DIFFERS_BY_DESIGN = ("tensorboard/*/events.out.tfevents.*", "stages/*.timing.json", "stages/*.options", ".lock")


def needs_emulator() -> None:
    """Skip the test where QEMU is missing."""
    emulator = get_target(TARGET).machine.emulator
    if shutil.which(emulator) is None:
        pytest.skip(f"{emulator} is not installed: apt-get install qemu-system-misc")


def write_inputs(folder: Path, name: str = "monday") -> None:
    """Recording, settings and budgets."""
    rng = np.random.default_rng(0)
    times = np.arange(SECONDS * RATE) / RATE

    def velocity(at: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * 0.4 * at) + 0.5 * np.sin(2 * np.pi * 0.13 * at)

    gamma = np.exp(velocity(times))[:, None] * np.sin(2 * np.pi * 50 * times[:, None] + rng.uniform(0, 6, CHANNELS))
    lfp = np.rint(150 * gamma + rng.normal(0, 60, (len(times), CHANNELS))).astype(np.int16)
    clock = np.arange(0, times[-1], 0.02)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", lfp=lfp, lfp_rate=float(RATE), lfp_scale=1e-7, behavior=velocity(clock), behavior_times=clock)
    (folder / "tiny.toml").write_text(CONFIG)
    (folder / "wide.toml").write_text(BUDGET)


def arguments(inputs: Path, out: Path, name: str = "monday") -> list[str]:
    """Of ``realm-edge``, for the whole run."""
    given = {"--data": inputs / f"{name}.npz", "--config": inputs / "tiny.toml", "--budget": inputs / "wide.toml", "--out": out}
    return ["run", "--target", TARGET, *(str(word) for option in given.items() for word in option)]


def content(run: Path, but: tuple[str, ...] = DIFFERS_BY_DESIGN) -> dict[str, bytes]:
    """Every file of a run that has to be equal, by its path in it."""
    files = {path.relative_to(run): path for path in sorted(run.rglob("*")) if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in files.items() if not any(name.match(pattern) for pattern in but)}


def half_written(*folders: Path) -> list[Path]:
    """What a command that was ended has left behind."""
    return [path for folder in folders for path in folder.rglob(".*.partial-*")]
