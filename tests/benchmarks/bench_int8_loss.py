"""What int8 and int16 activations lose over presets, seeds and recordings: python tests/benchmarks/bench_int8_loss.py OUT [options]

Trains, exports and quantises one run for each preset and seed under OUT (what is complete there is not done again), each with the
options of `realm-edge data` that follow. Each decoder is then quantised with int8 and with int16 activations, weights and states
unchanged. Printed for each stream: R2 of float and of both on the scored held-out bins, and what each loses against float and its NRMSE.
Without recordings: the synthetic ones, which say nothing about brains.

Example: python tests/benchmarks/bench_int8_loss.py runs/loss --preset implant-s --seeds 3 --data rodent.nwb --behavior speed
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click

from export.stepgraph import load_model, metadata
from quantization.calibrate import observe, warm_up_bins
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.golden import Golden, run_decoder
from quantization.scores import score
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.numpy_files import Npz
from realm_edge.segments import learnt_from
from realm_edge.settings import SIX_BANDS, Activations, changed, preset, save

FORMATS = get_args(Activations)


def quantised(folder: Path, name: str, seed: int, options: tuple[str, ...]) -> RunDir:
    """A run up to the quantize stage."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder.with_suffix(".toml")
    # Bands and generator are those of the table of docs/results.md.
    save(changed(preset(name), {"seed": seed, "lfp": SIX_BANDS.model_dump(), "synthetic": {"version": 1}}), config)
    for stage in ("data", "train", "export", "quantize"):
        if (folder / "stages" / f"{stage}.json").exists():
            continue
        words = ["--config", str(config), *options] if stage == "data" else []
        done = subprocess.run([sys.executable, "-m", "realm_edge", stage, "--out", str(folder), *words], check=False)
        if done.returncode:
            raise SystemExit(f"{folder}: '{stage}' ended with status {done.returncode}")
    return RunDir.open(folder)


def measured(run: RunDir) -> Iterator[dict[str, Any]]:
    """A row per stream."""
    run.require("quantize")
    session = next(session for session in load_sessions(run) if session.heldout)
    kept, starts = learnt_from(session.starts, session.valid, session.train_end)
    wiener = Npz(run.file("predictions.npz"))
    for stream in artefacts.present(run):
        golden, exact = Golden.load(artefacts.golden(run, stream)), load_model(artefacts.float_decoder(run, stream))
        training = stream.inputs(session)[: session.train_end][kept]
        observed = observe(exact, training, warm_up_bins(starts, len(training)), starts=starts)
        scale = metadata(load_model(artefacts.int8_decoder(run, stream)))["io"]["features"]["scale"]
        row: dict[str, Any] = {"stream": stream.name}
        for activations in FORMATS:
            decoder = quantize_decoder(exact, observed, scale, {}, Formats(activations))
            decoded, states = run_decoder(decoder, golden.features, golden.starts)
            made = Golden(golden.first_bin, golden.warm_up, golden.samples, golden.features, decoded, {}, states, golden.starts)
            scored = score(made, exact, decoder, stream, session, run.settings, wiener[f"{stream.name}_wiener"])
            row["float"] = scored.r2.float
            row[activations] = {
                "r2": scored.r2.int8,
                "lost": scored.r2.float - scored.r2.int8,
                "nrmse": scored.nrmse_int8_float,
            }
        yield row


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
            for row in measured(quantised(out / f"{name}-seed{seed}", name, seed, options)):
                rows.append({"preset": name, "seed": seed, **row})
                print(json.dumps(rows[-1]), flush=True)
    heads = " | ".join(f"R2, {each} | lost | NRMSE, %" for each in FORMATS)
    print(f"\n| preset | seed | stream | R2, float | {heads} |\n|---|---:|---|---:|{'---:|---:|---:|' * len(FORMATS)}")
    for row in rows:
        costs = " | ".join(f"{row[each]['r2']:.4f} | {row[each]['lost']:+.4f} | {100 * row[each]['nrmse']:.2f}" for each in FORMATS)
        print(f"| {row['preset']} | {row['seed']} | {row['stream']} | {row['float']:.4f} | {costs} |")


if __name__ == "__main__":
    main()
