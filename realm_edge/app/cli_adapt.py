"""The command ``adapt``: a new student for an unlabelled day."""

from pathlib import Path

import click

from realm_edge.app.cli_options import AS_JSON, MACHINE, PATH, options
from realm_edge.app.cli_work import json_text, known, open_run, try_emulators
from realm_edge.printable import printable


@click.command(epilog="Example: realm-edge adapt runs/hand --data today.nwb")
@click.argument("run", type=PATH)
@options(
    click.option("--data", "recordings", type=PATH, multiple=True, help="Recording of the day; its behaviour is not needed."),
    click.option("--behavior", metavar="NAME", multiple=True, help="Behaviour series of the day to check with; it trains nothing."),
    click.option("--behavior-file", type=PATH, help="File with that behaviour (.nwb, .npz, .csv, .parquet)."),
    click.option("--sync-offset", type=float, metavar="S", help="Seconds added to the times of that file."),
    click.option("--segments", metavar="TABLE", help="Intervals that are segments (default: those of the run's recordings)."),
    click.option(
        "--target", "targets", metavar="NAME", multiple=True, help="Target, repeatable (default: those the run was compiled for)."
    ),
    MACHINE,
    click.option("--out", type=PATH, help="Directory of the result (default: adapted/ in the run, and the day's name)."),
    AS_JSON,
)
def adapt(
    run: Path,
    recordings: tuple[Path, ...],
    behavior: tuple[str, ...],
    behavior_file: Path | None,
    sync_offset: float | None,
    segments: str | None,
    targets: tuple[str, ...],
    device: str,
    precision: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make a new student for a day without labels, and keep the old one unless the new one is better on what can be checked.

    The run's teacher, fine-tuned with the run's labels, says in hindsight what was done on the day; the student is trained on by that.
    Beside it stand the old student with the day's statistics, one that learns from labels of its own, and one that is trained as long
    without a teacher. A student that is kept leaves a report; a new one is firmware as well, equal to onnxruntime in every bit.
    """
    from realm_edge.app.adapt.day import Asked
    from realm_edge.app.adapt.run import adapt_run
    from realm_edge.app.adapt.text import lines
    from realm_edge.app.cli import DEFAULT_TARGETS

    asked = Asked(recordings, behavior, behavior_file, sync_offset, segments)
    named = known(targets)
    work = open_run(run)
    chosen = named or work.run.targets("compile") or DEFAULT_TARGETS
    try_emulators(chosen)
    found, place = adapt_run(work.run, asked, out, chosen, work.progress, device, precision)
    click.echo(json_text(found) if as_json else "\n".join(map(printable, (*lines(found), "", f"written to {place}"))))
