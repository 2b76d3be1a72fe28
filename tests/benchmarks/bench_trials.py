"""What resets at trials cost: python tests/benchmarks/bench_trials.py FOLDER [SECONDS]

Writes the held-out synthetic recording as .npz with back-to-back trials of SECONDS (default 10), trains the demo preset on the recording
as a whole and with `--segments trials`, and prints a Markdown table of R2 on the test part. Synthetic: no evidence about brains.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from realm_edge import synthetic
from realm_edge.settings import Settings, SyntheticSettings


def write(path: Path, seconds: float) -> None:
    settings = Settings(synthetic=SyntheticSettings(version=1))  # what the table of docs/results.md was measured with
    recording, _ = synthetic.generate(settings, settings.synthetic.sessions - 1)
    edges = np.arange(0.0, settings.synthetic.heldout_seconds + 1e-9, seconds)
    np.savez(
        path,
        lfp=recording.lfp,
        lfp_rate=recording.lfp_rate,
        lfp_scale=recording.lfp_scale,
        behavior=recording.behavior,
        behavior_times=recording.behavior_times,
        trials=np.stack([edges[:-1], edges[1:]], axis=1),
    )


def main(folder: Path, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "synthetic.npz"
    write(path, seconds)
    print("| recording | decoder | R2, all test bins | bins | R2, bins with a second of history | bins |\n|---|---|---:|---:|---:|---:|")
    for name, more in (("uncut", []), (f"trials of {seconds:g} s", ["--segments", "trials"])):
        out = folder / f"run-{len(more)}"
        for words in (["data", "--data", str(path), *more, "--fresh"], ["train"]):
            subprocess.run(["realm-edge", *words, "--out", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        decoders = json.loads((out / "metrics.json").read_text())["decoders"]
        for decoder, scored in decoders.items():
            late = f"{scored['r2_with_history']:.3f} | {scored['bins_with_history']}"
            print(f"| {name} | {decoder} | {scored['r2']:.3f} | {scored['bins']} | {late} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
