"""What adaptation to a later day of an ageing array is worth, as Markdown: python tests/benchmarks/bench_adapt.py FOLDER [SEEDS [DAYS]]

An array of the generator (version 2) has three sessions, DAYS (30) apart. A run is trained on the first two, whose labels it has; the
third is the day that its student is adapted to, without labels. The day's behaviour only says what came of it. FOLDER keeps runs and
recordings. The models are small: a seed takes about two minutes of one core.
"""

import json
import sys
from pathlib import Path

import numpy as np

import realm_edge
from realm_edge import synthetic
from realm_edge.app.adapt.day import Asked
from realm_edge.app.adapt.decision import NAMES
from realm_edge.app.adapt.form import Adaptation
from realm_edge.app.adapt.run import adapt_run
from realm_edge.app.workflow import opened
from realm_edge.progress import Terminal
from realm_edge.settings import Settings, SyntheticSettings

SESSIONS, SECONDS, DAY_SECONDS, CHANNELS = 3, 180.0, 300.0, 12
TARGET = "cortex-m4"
FIT = {"epochs": 40, "patience": 8, "batch": 4}
CHANGES = {
    "teacher": {"d_model": 32, "n_layer": 1},
    "student": {"d_model": 16, "n_layer": 1},
    "pretrain": {"epochs": 12, "batch": 4},
    "distil": FIT,
    "finetune": FIT,
}


def recordings(folder: Path, seed: int, days: float) -> list[Path]:
    """LFP and velocity of all sessions, one file each."""
    lengths = {"seconds": SECONDS, "heldout_seconds": DAY_SECONDS}
    sizes = SyntheticSettings(sessions=SESSIONS, channels=CHANNELS, units=6, days_apart=days, **lengths)
    paths = []
    for session in range(SESSIONS):
        one, _ = synthetic.generate(Settings(seed=seed, synthetic=sizes), session)
        path = folder / f"day{session * days:g}.npz"
        np.savez(
            path, lfp=one.lfp, lfp_rate=one.lfp_rate, lfp_scale=one.lfp_scale, behavior=one.behavior, behavior_times=one.behavior_times,
            behavior_names=np.array(one.behavior_names), behavior_unit=one.behavior_unit,
        )  # fmt: skip
        paths.append(path)
    return paths


def adapted(folder: Path, seed: int, days: float) -> Adaptation:
    """Of one array."""
    folder.mkdir(parents=True, exist_ok=True)
    *labelled, today = recordings(folder, seed, days)
    run = realm_edge.train(realm_edge.load(*labelled), folder / "run", changes={**CHANGES, "seed": seed}, device="cpu").run
    realm_edge.quantize(run)
    with opened(run) as opening:
        return adapt_run(opening, Asked((today,), behavior=("behavior",)), None, (TARGET,), Terminal())[0]


def main(folder: Path, seeds: int = 3, days: float = 30.0) -> None:
    found = [adapted(folder / f"seed{seed}", seed, days) for seed in range(seeds)]
    print(f"| student | {' | '.join(f'seed {seed}' for seed in range(seeds))} | mean |\n|---|{'---|' * (seeds + 1)}")
    for at, row in enumerate(found[0].rows):
        scores = [one.rows[at].r2 or 0.0 for one in found]
        print(f"| {NAMES[row.arm]} | {' | '.join(f'{score:.3f}' for score in scores)} | {np.mean(scores):.3f} |")
    for seed, one in enumerate(found):
        alone = all(check.holds for check in one.teacher_checks)
        print(f"\nseed {seed}: with behaviour {one.winner}; without: {'hindsight' if alone else 'old'}")
        print("\n".join(f"- {check.holds}: {check.text}" for check in (*one.behaviour_checks, *one.teacher_checks)))
        print(json.dumps({target: update.model_dump() for target, update in one.updates.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]), *map(float, sys.argv[3:4]))
