"""Budgets of an implant: limits from a TOML file, held against what was simulated."""

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from realm_edge.documents import Number
from realm_edge.errors import UserError
from realm_edge.toml_file import parse_toml, read_toml, without_format

UNITS = {
    "power_uw": "uW",
    "bandwidth_bps": "b/s",
    "latency_ms": "ms",
    "flash_bytes": "bytes",
    "ram_bytes": "bytes",
    "r2": "",
    "r2_loss": "",
}
FORMAT = "realm-edge budgets/1"  # of a TOML file of them
AT_LEAST = ("r2",)  # every other budget is an upper limit
SIGNED = ("r2", "r2_loss")  # the limits of all others count something
OF_FRONTEND_TOO = ("power_uw", "latency_ms", "flash_bytes", "ram_bytes")
LARGEST = 1e15  # of a limit; its differences to what is measured stay exact enough to be told
R2_COUNTED_FROM = 0.3  # below it the loss by int8 says nothing
State = Literal["holds", "holds only nominally", "broken"]


@dataclass(frozen=True)
class Budget:
    """One limit and where it comes from."""

    name: str
    limit: float
    source: str


@dataclass(frozen=True)
class Measured:
    """What the budgets are held against. Power and latency hold None where the work does not fit, power also where the part has no
    figure; ``fit_text`` then says what is missing."""

    power_uw: dict[str, float | None]  # by part, and "total"
    power_range: tuple[float | None, float | None]  # microwatts of the total at both ends of all figures and cycles
    bandwidth_bps: float | None
    latency_ms: dict[str, float | None]  # by part, and "total"
    latency_range: tuple[float | None, float | None]
    flash_bytes: int
    ram_bytes: int
    r2_float: float
    r2_int8: float
    fit_text: str
    stream: str  # "lfp" or "spike"
    cycles: dict[str, float]  # of a bin: "frontend", "decoder" with sending, "loop"
    decoder_only: bool = False  # sensing and front end are unknown and left out


@dataclass(frozen=True)
class Row:
    """One line of the budget table. ``by_how_much`` is what is left (negative: what is missing); ``lever`` is empty where all is well.

    ``low`` and ``high`` are the value with all figures and cycles at their better and worse ends; where a figure has no range they are the
    value. A budget holds where the high end keeps it (of R2, the low one), and only nominally where the value alone does.

    ``decoder_only``: sensing and front end would add to the value, and are left out: what is within the limit may still break it.
    """

    name: str
    limit: Number
    value: Number | None
    low: Number | None
    high: Number | None
    unit: str
    state: State
    ok: bool  # it holds, and not only nominally
    by_how_much: Number | None
    lever: str
    source: str
    decoder_only: bool


def load_budgets(path: Path | None = None) -> list[Budget]:
    """Read budgets (default: the file in the package). A file may hold fewer budgets than there are.

    Raises:
        UserError: the file is missing or broken, names an unknown budget, or a limit is no number up to :data:`LARGEST` or has no source.
    """
    source = str(path) if path else "data/budgets.toml"
    read = read_toml(path) if path else parse_toml(files("firmware_sim").joinpath(source).read_bytes(), source)
    values = without_format(read, FORMAT, source)
    if not values:
        raise UserError(f"{source}: holds no budget; name at least one of {', '.join(UNITS)}")
    return [_budget(name, row, source) for name, row in values.items()]


def _budget(name: str, row: object, source: str) -> Budget:
    if name not in UNITS:
        raise UserError(f"{source}: unknown budget '{name:.80}': use {', '.join(UNITS)}")
    if not isinstance(row, dict) or set(row) != {"limit", "source"}:
        raise UserError(f"{source}: budget '{name}' needs exactly 'limit' and 'source'")
    limit = row["limit"]
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit) or abs(limit) > LARGEST:
        raise UserError(f"{source}: budget '{name}' has limit {limit!r:.80}: a finite number is needed, from {-LARGEST:g} to {LARGEST:g}")
    if limit < 0 and name not in SIGNED:
        raise UserError(f"{source}: budget '{name}' has limit {limit!r:.80}: nothing needs less than 0 {UNITS[name]}")
    if not isinstance(row["source"], str) or not row["source"].strip():
        raise UserError(f"{source}: budget '{name}' has no source")
    return Budget(name, float(limit), row["source"])


def evaluate(budgets: list[Budget], measured: Measured) -> list[Row]:
    """Hold each budget against what was measured. What does not fit the clock or the link, or has no figure, breaks its budget."""
    return [_row(budget, measured) for budget in budgets]


def _row(budget: Budget, measured: Measured) -> Row:
    value = _value(budget.name, measured)
    low, high = _range(budget.name, value, measured)
    worst = low if budget.name in AT_LEAST else high
    partial = measured.decoder_only and budget.name in OF_FRONTEND_TOO
    state: State = "broken"
    lever, left = measured.fit_text, None
    if value is not None:
        left = _left(budget, value)
        excused = budget.name == "r2_loss" and measured.r2_float < R2_COUNTED_FROM
        if excused or (left >= 0 and worst is not None and _left(budget, worst) >= 0):
            state, lever = "holds", ""
        elif left >= 0:
            state, lever = "holds only nominally", _doubt(budget, worst, measured)
        else:
            lever = _lever(budget, measured)
    return Row(
        budget.name, budget.limit, value, low, high, UNITS[budget.name], state, state == "holds", left, lever, budget.source, partial
    )


def _left(budget: Budget, value: float) -> float:
    return value - budget.limit if budget.name in AT_LEAST else budget.limit - value


def _range(name: str, value: float | None, measured: Measured) -> tuple[float | None, float | None]:
    match name:
        case "power_uw":
            return measured.power_range
        case "latency_ms":
            return measured.latency_range
    return value, value


def _value(name: str, measured: Measured) -> float | None:
    match name:
        case "power_uw":
            return measured.power_uw["total"]
        case "latency_ms":
            return measured.latency_ms["total"]
        case "r2":
            return measured.r2_int8
        case "r2_loss":
            return measured.r2_float - measured.r2_int8
    return getattr(measured, name)


_PARTS = {
    "sensing": "fewer channels or a lower sensing rate",
    "pins": "a lower sensing rate",
    "mcu_sleep": "a part with less sleep current, or a sensing chip that holds a block of samples",
    "supply": "a part whose rail is the battery's, or a better converter",
    "radio": "longer bins (fewer connection events) or a radio with less energy an event",
    "bin_wait": "shorter bins",
    "radio_wait": "bins that end when a connection event begins",
    "output_delay": "a lower output_delay_ms",
    "resampling": "a recording that was sensed at the front end's rate",
    "filters": "no narrow bands at low frequencies (lfp.bands_hz)",
    "averaging": "a lower lfp.power_bins",
    "compute": "a faster clock, a smaller student or faster kernels",
}
_FIXED = {
    "bandwidth_bps": "longer bins or fewer output dimensions",
    "flash_bytes": "a smaller student (fewer weights)",
    "ram_bytes": "fewer channels, shorter bins or a smaller d_state",
    "r2": "a larger student, more training data, or the other input",
    "r2_loss": "int16 for the tensors that lose most, or quantisation-aware distillation",
}


_FEWER = {  # cycles of the front end, by stream
    "lfp": "fewer bands or a lower rate",
    "spike": "a lower rate or a detector circuit",
}


def _part(name: str, measured: Measured) -> str:
    """What makes a part smaller; of the core by where its cycles go."""
    if name != "mcu_active":
        return _PARTS[name]
    front, decoder = (round(100 * measured.cycles[region] / sum(measured.cycles.values())) for region in ("frontend", "decoder"))
    core = "a core with less energy per cycle"
    if front == 0:
        return f"{decoder} % of the cycles are the decoder: a smaller student or {core}"
    fewer, smaller = _FEWER[measured.stream], "a smaller student"
    first, second = (fewer, smaller) if front >= decoder else (smaller, fewer)
    return f"{front} % of the cycles are the front end, {decoder} % the decoder: {first}, before {second}; or {core}"


def _sizes(budget: Budget, measured: Measured) -> dict[str, float]:
    parts = measured.power_uw if budget.name == "power_uw" else measured.latency_ms
    return {name: value for name, value in parts.items() if name != "total" and value is not None}


def _largest(sizes: dict[str, float]) -> str:
    return max(sizes, key=lambda name: sizes[name])


def _doubt(budget: Budget, worst: float | None, measured: Measured) -> str:
    """Of a budget that holds only nominally; power and latency alone have a range."""
    sizes = _sizes(budget, measured)
    reaches = "does not fit" if worst is None else f"reaches {worst:.0f} {UNITS[budget.name]}"
    largest = _largest(sizes)
    return f"{reaches} with every figure at its worse end: narrower ranges, or less of {largest}: {_part(largest, measured)}"


def _lever(budget: Budget, measured: Measured) -> str:
    if budget.name in _FIXED:
        return _FIXED[budget.name]
    sizes = _sizes(budget, measured)
    largest = _largest(sizes)
    allowed = budget.limit - (sum(sizes.values()) - sizes[largest])
    unit = UNITS[budget.name]
    if allowed <= 0:
        return f"{_part(largest, measured)}; not enough alone: without {largest} the rest is still {-allowed:.0f} {unit} over the limit"
    return f"{_part(largest, measured)}: {largest} must fall from {sizes[largest]:.0f} to {allowed:.0f} {unit}"
