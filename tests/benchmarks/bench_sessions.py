"""Memory that training takes on more and more sessions: python tests/benchmarks/bench_sessions.py [--sessions N]... [--in-memory]

Writes sessions of noise to a temporary directory, pretrains a teacher, distils a student and fine-tunes it for one epoch each on the first
N of them, and prints what these take on the disk, the most memory that the process held so far, and the processor time. Sessions stay in
their files, as `realm-edge train` and `evaluate` have them, or are held in memory. Where glibc's allocator keeps what was freed, the figure
says more of that than of training: MALLOC_MMAP_THRESHOLD_=100000 in the environment makes it hand memory back.

Example: MALLOC_MMAP_THRESHOLD_=100000 python tests/benchmarks/bench_sessions.py --sessions 8 --sessions 64 --sessions 256
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from realm_edge.progress import Silent
from realm_edge.session import Session, load, save, stored
from realm_edge.settings import DistilSettings, FitSettings, ModelSettings, PretrainSettings
from realm_edge.training.distil import distil
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import Phase
from realm_edge.training.material import gather
from realm_edge.training.pretrain import pretrain

KINDS, WINDOW = 3, 100
MODEL = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8)
FIT = {"epochs": 1, "lr": 1e-3, "batch": 64}


def noise(name: str, bins: int, inputs: int) -> Session:
    """A session whose behaviour is two of its inputs."""
    features = np.random.default_rng(0).standard_normal((bins, inputs), np.float32)
    return Session(
        name=name, heldout=False, synthetic=True, targets=features[:, :2].copy(), target_names=("x", "y"), target_unit="cm/s",
        train_end=bins * 4 // 5, validation_end=bins, lfp=None, good_channels=np.ones(inputs // KINDS, bool), features=features,
        counts=None, spike_source="none", spike_threshold=None, broadband=None,
    )  # fmt: skip


def train(paths: list[Path], read: Callable[[Path], Session]) -> None:
    """All phases; the first session is the decoded one."""
    material = gather([read(path) for path in paths[1:]], load(paths[0]), "features", 0.02)
    inputs, others = material.inputs.shape[1], material.pretraining
    teacher, _ = pretrain(MODEL, PretrainSettings(**FIT), others, WINDOW, Phase("pretrain", 0), Silent())
    student, _ = distil(teacher, MODEL, DistilSettings(**FIT), others, inputs, WINDOW, Phase("distil", 0), Silent())
    finetune(student, FitSettings(**FIT), [*others, material.decoded], WINDOW, Phase("finetune", 0), Silent())


@click.command()
@click.option("--sessions", "numbers", multiple=True, type=int, default=(8, 64))
@click.option("--bins", default=800, show_default=True)
@click.option("--inputs", default=480, show_default=True)
@click.option("--in-memory", is_flag=True)
def main(numbers: tuple[int, ...], bins: int, inputs: int, in_memory: bool) -> None:
    """See the module."""
    print("sessions  on disk, MB  most memory, MB  processor s")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{index}.npz") for index in range(max(numbers))]
        for path in paths:
            save(noise(path.stem, bins, inputs), path)
        for number in sorted(numbers):
            start, size = time.process_time(), sum(path.stat().st_size for path in paths[:number])
            train(paths[:number], load if in_memory else stored)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(f"{number:8}  {size / 1e6:11.0f}  {most:15.0f}  {time.process_time() - start:11.1f}")


if __name__ == "__main__":
    main()
