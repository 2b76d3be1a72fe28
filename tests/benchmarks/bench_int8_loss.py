"""What int8 loses over presets, seeds and recordings: python tests/benchmarks/bench_int8_loss.py OUT [--preset NAME]... [run's options]

Trains, exports and quantises one run for each preset and seed under OUT (what is complete there is not done again), each with the
options of `realm-edge data` that follow, and prints for each stream R2 of float and int8 on the scored held-out bins, their
difference, and the NRMSE of int8 against float. Without recordings: the synthetic ones, which say nothing about brains.

Example: python tests/benchmarks/bench_int8_loss.py runs/loss --preset implant-s --seeds 3 --data rodent.nwb --behavior speed
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from realm_edge.files import read_json
from realm_edge.settings import preset, save


def quantised(folder: Path, name: str, seed: int, options: tuple[str, ...]) -> dict[str, Any]:
    """The quantize stage's summary of one run."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder.with_suffix(".toml")
    save(preset(name).model_copy(update={"seed": seed}), config)
    summary = folder / "stages" / "quantize.json"
    for stage in ("data", "train", "export", "quantize"):
        if (folder / "stages" / f"{stage}.json").exists():
            continue
        words = ["--config", str(config), *options] if stage == "data" else []
        done = subprocess.run([sys.executable, "-m", "realm_edge", stage, "--out", str(folder), *words], check=False)
        if done.returncode:
            raise SystemExit(f"{folder}: '{stage}' ended with status {done.returncode}")
    return read_json(summary)["summary"]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--preset", "presets", multiple=True, default=("implant-s", "implant-m", "implant-l"), show_default=True)
@click.option("--seeds", type=int, default=3, show_default=True)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def main(out: Path, presets: tuple[str, ...], seeds: int, options: tuple[str, ...]) -> None:
    """See the module."""
    rows = []
    for name in presets:
        for seed in range(seeds):
            for stream, one in quantised(out / f"{name}-seed{seed}", name, seed, options).items():
                r2 = one["r2"]
                rows.append({"preset": name, "seed": seed, "stream": stream, "float": r2["float"], "int8": r2["int8"]})
                rows[-1] |= {"loss": r2["float"] - r2["int8"], "nrmse": one["nrmse_int8_float"]}
                print(json.dumps(rows[-1]), flush=True)
    print("\n| preset | seed | stream | R2, float | R2, int8 | lost | NRMSE, % |\n|---|---:|---|---:|---:|---:|---:|")
    for row in rows:
        scored = f"{row['float']:.4f} | {row['int8']:.4f} | {row['loss']:+.4f} | {100 * row['nrmse']:.2f}"
        print(f"| {row['preset']} | {row['seed']} | {row['stream']} | {scored} |")


if __name__ == "__main__":
    main()
