"""What cheaper features cost and tell: python tests/benchmarks/bench_features.py STUDY [--results STUDY.json]... [--plot FILE]

STUDY is one of `realm-edge study`'s that change a front end: features, front-end, spiking-band or spike-rate. Each of its variants is
compiled with an untrained student of preset implant-m behind it, 96 channels, bins of 20 ms, and run in QEMU on noise; every bit is
compared. Printed as Markdown: by how much the latest band is late; cycles of the front end, per channel and millisecond, without wait
states; cycles of the whole bin with the part's wait states, in thousands; and R2 from each file that `realm-edge study STUDY` wrote. The
plot is R2 against the first target's cycles.
"""

import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from bench_step import CHANNELS, SETTINGS, measured
from matplotlib.figure import Figure

from realm_edge.documents import read_document
from realm_edge.evaluation.forms import STUDY, StudyRow, StudySummary
from realm_edge.evaluation.studies import STUDIES, Variant
from realm_edge.evaluation.table import bound, look
from realm_edge.files import write_bytes
from realm_edge.frontend import filter_delay_s
from realm_edge.pictures import STYLE, drawn, outside_legend
from realm_edge.settings import changed

TARGETS = ("cortex-m4", "rv32imc")
OF_SPIKES = "spike-rate"


def costs(study: str, variant: Variant, bins: int, folder: Path) -> tuple[float, list[float], list[float]]:
    """Milliseconds that the latest band is late; by target, front end per channel and ms, and the bin."""
    settings = changed(SETTINGS, variant.settings)
    stream = "spike" if study == OF_SPIKES else "lfp"
    per_ms, whole = [], []
    for name, found in zip(TARGETS, measured(stream, bins, TARGETS, folder, settings), strict=True):
        if found is None:
            raise SystemExit(f"{variant.name}: {name} gives other bits")
        per_ms.append(found.bare.regions["frontend"].cycles.cycles / (CHANNELS * settings.bin_ms))
        whole.append(found.waited.cycles_per_step.cycles)
    return 1e3 * filter_delay_s(settings) if stream == "lfp" else 0.0, per_ms, whole


def told(results: Sequence[StudySummary], variant: str) -> list[str]:
    """R2 by file and decoder, with the change against the first variant."""
    cells = []
    for summary in results:
        for decoder in dict.fromkeys(row.decoder for row in summary.rows):
            own = [row for row in summary.rows if isinstance(row, StudyRow) and (row.variant, row.decoder) == (variant, decoder)]
            change = "" if not own or own[0].change is None else f" ({own[0].change:+.3f})"
            cells.append(f"{own[0].r2:.3f}{change}" if own else "")
    return cells


def plot(results: Mapping[str, Sequence[StudySummary]], cycles: Mapping[str, float]) -> bytes:
    """A panel per recording."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(results) + 1.6, 4.4), layout="constrained")
        panels = figure.subplots(1, len(results), squeeze=False)[0]
        for axis, (title, studies) in zip(panels, results.items(), strict=True):
            rows = [row for study in studies for row in study.rows if isinstance(row, StudyRow)]
            for name, at in cycles.items():
                axis.axvline(at, color="#cccccc", linewidth=0.6, zorder=0)
                axis.text(at, 1.02, name, transform=axis.get_xaxis_transform(), rotation=60, fontsize=6)
            for decoder in dict.fromkeys(row.decoder for row in rows):
                own = [row for row in rows if row.decoder == decoder]
                color, marker = look(decoder)
                axis.plot([cycles[row.variant] for row in own], [row.r2 for row in own], marker, color=color, label=own[0].label)
                for row in own:
                    if row.r2_interval:
                        axis.vlines(cycles[row.variant], *row.r2_interval, color=color, linewidth=1)
            bound(axis)
            axis.set_xlabel(
                f"{title}{', synthetic' * studies[0].synthetic}\n{TARGETS[0]}, front end, cycles per channel and ms", fontsize=8
            )
        panels[0].set_ylabel("R² on held-out bins")
        outside_legend(figure)
        return drawn(figure)["svg"]


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", choices=("features", "front-end", "spiking-band", OF_SPIKES))
    parser.add_argument("--results", type=Path, action="append", default=[], help="study.json; its folder's name is the recording's")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--bins", type=int, default=20)
    asked = parser.parse_args()
    results = [read_document(path, STUDY, StudySummary, "run the study again") for path in asked.results]
    titles = [path.resolve().parent.name for path in asked.results]
    heads = ["front end", "late, ms", *(f"{name}: cycles" for name in TARGETS), *(f"{name}: bin, k" for name in TARGETS)]
    heads += [f"{title}: {label}" for title, one in zip(titles, results, strict=True) for label in dict.fromkeys(r.label for r in one.rows)]
    print(f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
    cycles = {}
    for variant in STUDIES[asked.study].variants(SETTINGS, 1):
        with tempfile.TemporaryDirectory() as folder:
            late, per_ms, whole = costs(asked.study, variant, asked.bins, Path(folder))
        cycles[variant.name] = per_ms[0]
        cells = [variant.name, f"{late:.1f}", *(f"{one:.1f}" for one in per_ms), *(f"{one / 1e3:.0f}" for one in whole)]
        print(f"| {' | '.join([*cells, *told(results, variant.name)])} |", flush=True)
    if asked.plot and results:
        by_title = {title: [one for name, one in zip(titles, results, strict=True) if name == title] for title in titles}
        write_bytes(asked.plot, plot(by_title, cycles))


if __name__ == "__main__":
    main()
