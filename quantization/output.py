"""What the quantize stage tells people."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from quantization.summaries import CALIBRATION, Calibration, QuantizedStream, Row
from realm_edge.documents import read_document
from realm_edge.printable import printable

SHOWN = 8  # rows per stream
WIDE = 120  # columns, where no terminal tells
_COLUMNS = ("tensor", "format", "scale", "at the rail, %", "SQNR, dB", "NRMSE alone, %")


def show(summary: Mapping[str, QuantizedStream], calibration: Path) -> None:
    """Print each stream's scores and bytes, and the tensors whose format costs most, those at ``calibration``."""
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDE)
    for name, stream in read_document(calibration, CALIBRATION, Calibration, "run 'realm-edge quantize'").streams.items():
        scores, size = summary[name], stream.sizes["decoder"].bytes
        parts = f"front end {_percent(scores.nrmse_frontend)} %, decoder {_percent(scores.nrmse_decoder)} %"
        against = f"NRMSE {_percent(scores.nrmse_int8_float)} % ({parts})"
        console.print(f"{name}: R2 {scores.r2.int8:.3f} in int8, {scores.r2.float:.3f} in float; {against}", soft_wrap=True)
        kinds = ", ".join(f"{kind} {size[kind]:,}" for kind in ("weights", "tables", "constants", "states"))
        console.print(f"{name}: bytes of the decoder: {kinds}", soft_wrap=True)
        console.print(_table(stream.tensors))
        more = len(stream.tensors) - SHOWN
        if more > 0:
            console.print(f"... and {more} that cost less: {printable(str(calibration))}", soft_wrap=True)


def _table(rows: Iterable[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("tensor", "format") else "right", overflow="fold")
    for row in sorted(rows, key=lambda row: -row.nrmse_alone)[:SHOWN]:
        low, high = row.scale
        table.add_row(
            printable(row.tensor),
            row.dtype,
            f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}",
            "" if row.saturated is None else _percent(row.saturated),
            "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}",
            _percent(row.nrmse_alone),
        )
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.2g}"
