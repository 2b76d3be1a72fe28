"""The commands ``evaluate`` and ``study``, which train many decoders and compare them."""

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realm_edge.app.cli_options import (
    AS_JSON,
    CHOICES,
    CONFIG,
    FEATURES,
    MACHINE,
    PATH,
    PRESET,
    RECORDINGS,
    gathered,
    number,
    options,
    settings_of,
)
from realm_edge.app.lock import held

if TYPE_CHECKING:
    from realm_edge.evaluation.sweep import Plan
    from realm_edge.sources import Recordings

HELDOUT = click.option(
    "--heldout", metavar="N|all", default="1", show_default=True, help="Sessions to decode: the last N, or each in turn."
)
DECODERS = click.option("--decoders", metavar="NAMES", help="Decoders to compare, such as student,scratch,gru (default: all).")
WORKERS = click.option("--workers", type=int, help="Processes that train side by side (default: one per core); they do not change results.")
SEEDS = click.option("--seeds", type=int, default=3, show_default=True, help="Seeds of training.")


@click.command(epilog="Example: realm-edge evaluate --seeds 3 --heldout 2 --labels 0.1,0.25,1.0 --out runs/evaluate")
@options(PRESET, CONFIG, RECORDINGS, CHOICES, FEATURES, SEEDS, HELDOUT)
@click.option(
    "--labels", metavar="SHARES", default="1.0", show_default=True, help="Shares of the training part with known behaviour, from 0 on."
)
@click.option("--double", is_flag=True, help="Also the trained baselines with twice the student's parameters.")
@options(DECODERS, WORKERS, MACHINE)
@click.option("--out", type=PATH, default=Path("runs/evaluate"), show_default=True, help="Directory of the results.")
@AS_JSON
@gathered
def evaluate(out: Path, as_json: bool, **given: Any) -> None:
    """Compare the student with every baseline over seeds, held-out sessions and shares of labels; goes on where it stopped."""
    from realm_edge.documents import jsonable
    from realm_edge.evaluation.sweep import evaluate as compare
    from realm_edge.evaluation.table import markdown
    from realm_edge.progress import Terminal

    plan = _plan("evaluate", **given)
    click.get_current_context().with_resource(held(out))
    summary = compare(plan, out, Terminal())
    click.echo(json.dumps(jsonable(summary), indent=2) if as_json else markdown(summary))


@click.command(epilog="Example: realm-edge study delay --seeds 3 --heldout 2 --config examples/compare2.toml")
@click.argument("name")
@options(PRESET, CONFIG, RECORDINGS, CHOICES, FEATURES, SEEDS, HELDOUT)
@click.option("--labels", metavar="SHARES", help="Shares of the training part with known behaviour (default: the study's).")
@options(DECODERS, WORKERS, MACHINE)
@click.option("--out", type=PATH, help="Directory of the results (default: runs/study-NAME).")
@AS_JSON
@gathered
def study(name: str, out: Path | None, as_json: bool, **given: Any) -> None:
    """Vary one thing and compare decoders; goes on where it stopped.

    NAME is noise (how strongly movement modulates the synthetic recordings), delay (of the output), pretraining (which, on how many
    sessions), hindsight (a teacher relabels what has no label; by how many other sessions have labels), causality (what it costs), losses
    (of the distillation, one left out at a time), recipe (REALM's, with and without labels), targets (of the masked autoencoding), rate
    (of learning; judged on the validation part), features (bands and rates of the LFP), front-end (the presets' against one of more
    bands), spiking-band (power of 300 to 1,000 Hz), spike-rate (of the ADC), stability (over days, of synthetic arrays that age; --seeds
    counts arrays) or information (before anyone pretrains: how predictable masked bins are, and how much of that is about the target;
    --seeds counts draws of masks).
    """
    from realm_edge.documents import Form, jsonable
    from realm_edge.evaluation import information, information_output, stability, stability_output, study_output
    from realm_edge.evaluation.study import run
    from realm_edge.progress import Terminal

    plan, folder = _plan("study", name, **given), out or Path("runs") / f"study-{name}"
    click.get_current_context().with_resource(held(folder))
    summary: Form
    if name == stability.NAME:
        summary = stability.run(plan, folder, Terminal())
        text = stability_output.markdown(summary)
    elif name == information.NAME:
        summary = information.run(plan, folder, Terminal())
        text = information_output.markdown(summary)
    else:
        summary = run(name, plan, folder, Terminal())
        text = study_output.markdown(summary)
    click.echo(json.dumps(jsonable(summary), indent=2) if as_json else text)


def _plan(
    *command: str,
    preset: str | None,
    config: Path | None,
    recordings: "Recordings",
    seeds: int,
    heldout: str,
    labels: str | None,
    decoders: str | None,
    workers: int | None,
    device: str,
    precision: str,
    double: bool = False,
) -> "Plan":
    """What the options ask for; the command that is written into the results leaves out what does not change them."""
    from realm_edge.evaluation.sweep import Plan
    from realm_edge.settings import preset as find_preset

    flags: list[tuple[str, Any]] = [
        ("--preset", preset),
        ("--config", config),
        *recordings.flags(),
        ("--seeds", seeds),
        ("--heldout", heldout),
        ("--labels", labels),
        ("--decoders", decoders),
    ]
    words = [str(part) for flag, value in flags if value is not None for part in (flag, value)] + ["--double"] * double
    shares = [] if labels is None else labels.split(",")
    return Plan(
        settings=settings_of(preset, config) or find_preset("demo"),
        recordings=recordings,
        seeds=seeds,
        heldout=None if heldout == "all" else number("--heldout", heldout, int, "a number of sessions, or all"),
        labels=tuple(dict.fromkeys(number("--labels", share, float, "shares such as 0.1,0.25,1.0") for share in shares)),
        double=double,
        decoders=() if decoders is None else tuple(decoders.split(",")),
        command=shlex.join(["realm-edge", *command, *words]),
        workers=len(os.sched_getaffinity(0)) if workers is None else workers,
        device=device,
        precision=precision,
    )
