"""What to change in a run's settings, by the shares of power, cycles and latency that its simulation measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, gcd
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from firmware_sim.budgets import AT_LEAST, Row
from firmware_sim.stream_report import StreamReport
from realm_edge.app.rundir import RunDir
from realm_edge.app.verdict.form import Hint
from realm_edge.baselines.cost import macs_per_step
from realm_edge.errors import UserError
from realm_edge.frontend import filter_delay_s
from realm_edge.models.student import Student
from realm_edge.settings import LfpSettings, ModelSettings, Settings, changed, flaw

OVERSAMPLING = 2.5  # of the highest band's upper end: twice, and a quarter more, as the presets have it
LEAST_SAVING = 0.01  # of a quantity, that is worth naming
NARROWEST = 8  # width of the smallest student that a hint asks for
_WORDS = {
    "power_uw": "power",
    "latency_ms": "latency",
    "cycles": "cycles",
    "bandwidth_bps": "bandwidth",
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
    "r2_loss": "loss of R2 by integers",
}
_PARTS = {
    "bin_wait": "the wait for a bin's end",
    "filters": "the delay of the bands' filters",
    "averaging": "the averaging of powers",
    "output_delay": "the delay by design",
}


@dataclass(frozen=True)
class _Measured:
    """What a bin of the run costs. ``saves`` of a candidate has the keys of ``values``."""

    values: dict[str, float]  # by budget, and "cycles"
    front: float  # cycles a bin
    decoder: float  # with sending
    loop: float
    core_uw: float  # awake, with what the supply loses on the way to it; 0 where the part has no figure

    @property
    def cycles(self) -> float:
        return self.front + self.decoder + self.loop

    def core(self, cycles: float) -> dict[str, float]:
        """What so many cycles fewer a bin save."""
        return {"cycles": cycles, "power_uw": self.core_uw * cycles / self.cycles}


@dataclass(frozen=True)
class _Candidate:
    """A change, the share that speaks for it and what it saves by estimate; what it costs is below 0."""

    name: str
    part: str  # "front end", "decoder", or a part of power or latency
    what: str
    changes: dict[str, Any]
    saves: Mapping[str, float]


def hints(settings: Settings, report: StreamReport) -> tuple[Hint, ...]:
    """The changes that help against what is broken or holds only nominally; where all holds, against the largest share of each.

    Savings are estimates from the measured shares: of the front end by samples and filter sections, of the decoder by
    multiply-accumulates. The largest comes first. What a change costs in R2 is unknown until its run is made.

    Args:
        settings: of the run that was simulated.
        report: of one of its streams.

    Returns:
        Hints whose changes make valid settings. None breaks by estimate another budget that is kept; none for R2 itself, of which no share
        was measured.
    """
    measured = _measured(report)
    in_doubt = [row.name for row in report.budgets if row.state != "holds"]
    quantities = dict.fromkeys(_priced(name, measured) for name in in_doubt or ("power_uw", "latency_ms"))
    offered = [one for one in _candidates(settings, report, measured) if _applies(settings, one) and _breaks_none(one, report.budgets)]
    best: dict[str, tuple[float, Hint]] = {}
    for quantity in quantities:
        total = measured.values.get(quantity, 0.0)
        helping = [one for one in offered if total > 0 and one.saves.get(quantity, 0.0) > 0]
        for one in helping if in_doubt else _of_largest_share(helping, quantity, report, measured):
            saving = one.saves[quantity] / total
            if saving > best.get(one.name, (LEAST_SAVING,))[0]:
                best[one.name] = saving, Hint(name=one.name, text=_text(one, quantity, saving, report, measured), changes=one.changes)
    return tuple(hint for _, hint in sorted(best.values(), key=lambda found: (-found[0], found[1].name)))


def apply(run: RunDir, hint: Hint) -> tuple[Settings, Path]:
    """Settings of a new run with the hint's changes, and its directory, ``<run>/hints/<name>``. Nothing is written.

    Raises:
        UserError: the changes do not go with the run's settings.
    """
    try:
        return changed(run.settings, hint.changes), run.file("hints", hint.name)
    except ValidationError as error:
        raise UserError(f"{run.path}: hint '{hint.name}': {flaw(error)}") from error


def _measured(report: StreamReport) -> _Measured:
    cycles = {name: region.cycles for name, region in report.regions.items()}
    power, latency = report.power_uw, report.latency_ms
    awake, lost = power["mcu_active"], power["supply"]
    values = {
        "power_uw": power["total"],
        "latency_ms": latency["total"],
        "cycles": cycles["frontend"] + cycles["decoder"] + cycles["send"] + cycles["loop"],
        "bandwidth_bps": report.bandwidth_bps.decoded,
        "flash_bytes": float(report.flash_bytes),
        "ram_bytes": float(report.ram_bytes),
        "r2_loss": report.r2.float - report.r2.int8,
    }
    return _Measured(
        values={name: value for name, value in values.items() if value is not None},
        front=cycles["frontend"],
        decoder=cycles["decoder"] + cycles["send"],
        loop=cycles["loop"],
        core_uw=0.0 if power["total"] is None else (awake or 0.0) + (lost or 0.0),
    )


def _priced(budget: str, measured: _Measured) -> str:
    """Where power or latency has no figure, as the work does not fit or the part is not priced, its cycles stand for it."""
    return "cycles" if budget in ("power_uw", "latency_ms") and budget not in measured.values else budget


def _applies(settings: Settings, candidate: _Candidate) -> bool:
    try:
        return changed(settings, candidate.changes) != settings
    except ValidationError:
        return False


def _breaks_none(candidate: _Candidate, budgets: tuple[Row, ...]) -> bool:
    """Whether what the candidate costs leaves the budgets kept that are; nominal figures count."""
    costs = {row.name: -candidate.saves.get(row.name, 0.0) for row in budgets}
    kept = (row for row in budgets if row.state != "broken" and row.value is not None and row.name not in AT_LEAST)
    return all(costs[row.name] <= 0 or (row.value or 0.0) + costs[row.name] <= row.limit for row in kept)


def _of_largest_share(helping: list[_Candidate], quantity: str, report: StreamReport, measured: _Measured) -> list[_Candidate]:
    """Those that act on the largest share that any of them acts on."""
    sizes = {one.part: _size(one.part, quantity, report, measured) for one in helping}
    return [one for one in helping if sizes[one.part] == max(sizes.values())]


def _size(part: str, quantity: str, report: StreamReport, measured: _Measured) -> float:
    """The part's share of a quantity."""
    total = measured.values[quantity]
    if part in ("front end", "decoder"):
        cycles = measured.front if part == "front end" else measured.decoder
        parts = {"latency_ms": 1e3 * cycles / report.clock_hz, "power_uw": measured.core_uw * cycles / measured.cycles, "cycles": cycles}
        return parts.get(quantity, 0.0) / total
    among = report.power_uw if quantity == "power_uw" else report.latency_ms if quantity == "latency_ms" else {}
    return (among.get(part) or 0.0) / total


def _text(one: _Candidate, quantity: str, saving: float, report: StreamReport, measured: _Measured) -> str:
    of = "cycles" if one.part in ("front end", "decoder") else quantity
    share = _size(one.part, of, report, measured)
    are = "are" if of == "cycles" else "is"
    speaks = f"{100 * share:.0f} % of the {_WORDS[of]} {are} {_PARTS.get(one.part, f'the {one.part}')}: " if share else ""
    return f"{speaks}{one.what}; by estimate {100 * saving:.2g} % less {_WORDS[quantity]}; R2 has to be measured anew"


def _candidates(settings: Settings, report: StreamReport, measured: _Measured) -> Iterator[_Candidate]:
    if report.stream == "lfp" and measured.front > 0:
        yield from _frontend(settings, report, measured)
    smaller = _smaller(settings.student)
    if smaller is not None:
        yield _student(settings, smaller, report, measured)
    yield from _bins(settings, report, measured)
    late = report.latency_ms.get("output_delay") or 0.0
    if late > 0:
        earlier = settings.output_delay_ms // 2 // settings.bin_ms * settings.bin_ms
        saved = {"latency_ms": float(settings.output_delay_ms - earlier)}
        yield _Candidate("less-output-delay", "output_delay", f"output_delay_ms {earlier}", {"output_delay_ms": earlier}, saved)
    if settings.quantize.activations == "int8" and "r2_loss" in measured.values:
        loss = {"r2_loss": measured.values["r2_loss"] * 2 / 3}  # int16 errs a third as much
        yield _Candidate("int16", "decoder", "linear layers read int16", {"quantize": {"activations": "int16"}}, loss)


def _frontend(settings: Settings, report: StreamReport, measured: _Measured) -> Iterator[_Candidate]:
    lfp = settings.lfp
    bands = sorted(lfp.bands_hz, key=lambda band: band[1])
    slower = _rate(settings, bands)
    if slower < lfp.rate_hz:
        yield _filters("lower-rate", f"{slower} Hz are enough for its bands", settings, {"rate_hz": slower}, report, measured)
    if len(bands) > 1:
        (low, high), rest = bands[-1], bands[:-1]
        rate = min(lfp.rate_hz, _rate(settings, rest))
        what = f"without the band of {low:g} to {high:g} Hz, at {rate} Hz"
        yield _filters("fewer-bands", what, settings, {"rate_hz": rate, "bands_hz": _listed(rest)}, report, measured)
        yield from _wider(settings, bands, report, measured)
    late = report.latency_ms.get("averaging") or 0.0
    if lfp.power_bins > 1 and late > 0:
        fewer = lfp.power_bins // 2
        saved = {"latency_ms": late * (lfp.power_bins - fewer) / (lfp.power_bins - 1)}
        what = f"a mean power of {fewer} bins, not {lfp.power_bins}" if fewer > 1 else "the power of the bin alone"
        yield _Candidate("less-averaging", "averaging", what, {"lfp": {"power_bins": fewer}}, saved)


def _wider(settings: Settings, bands: list[tuple[float, float]], report: StreamReport, measured: _Measured) -> Iterator[_Candidate]:
    """The latest band and its neighbour as one."""

    def delay_s(of: list[tuple[float, float]]) -> float:
        return filter_delay_s(changed(settings, {"lfp": {"bands_hz": _listed(of)}}))

    latest = max(range(len(bands)), key=lambda index: delay_s([bands[index]]))
    first = min(latest, len(bands) - 2)
    one, other = bands[first : first + 2]
    joined = [*bands[:first], (min(one[0], other[0]), max(one[1], other[1])), *bands[first + 2 :]]
    saved_ms = 1e3 * (delay_s(bands) - delay_s(joined))
    low, high = joined[first]
    found = _filters(
        "wider-bands", f"one band of {low:g} to {high:g} Hz for two", settings, {"bands_hz": _listed(joined)}, report, measured
    )
    yield _Candidate(found.name, "filters", found.what, found.changes, {"latency_ms": saved_ms})


def _filters(name: str, what: str, settings: Settings, changes: dict[str, Any], report: StreamReport, measured: _Measured) -> _Candidate:
    """The front end's cycles go with the samples, and with the sections that each passes."""
    old, new = settings.lfp, changes
    rate = new.get("rate_hz", old.rate_hz) / old.rate_hz
    sections = _sections(old, len(new.get("bands_hz", old.bands_hz))) / _sections(old, len(old.bands_hz))
    saves = measured.core(measured.front * (1 - rate * sections))
    saves["power_uw"] += (1 - rate) * (report.power_uw["pins"] or 0.0)
    saves["ram_bytes"] = (1 - rate) * report.memory.adc_buffer_bytes
    return _Candidate(name, "front end", what, {"lfp": changes}, saves)


def _sections(lfp: LfpSettings, bands: int) -> int:
    """High-pass, notch where there is one, and a section a band."""
    return 1 + (lfp.line_hz > 0) + bands


def _rate(settings: Settings, bands: list[tuple[float, float]]) -> int:
    """The least rate that the bands and the notch need, with whole samples a bin."""
    needed = OVERSAMPLING * max(settings.lfp.highpass_hz, settings.lfp.line_hz, *(high for _, high in bands), 0.0)
    step = 1000 // gcd(1000, settings.bin_ms)
    return ceil(needed / step) * step


def _listed(bands: list[tuple[float, float]]) -> list[list[float]]:
    return [list(band) for band in bands]


def _smaller(student: ModelSettings) -> dict[str, int] | None:
    """Half the width; where it is narrow already, a layer less; None: there is no smaller one."""
    width = student.d_model // 2
    if width >= NARROWEST:
        return {"d_model": width, "headdim": gcd(student.headdim, student.expand * width)}
    return {"n_layer": student.n_layer - 1} if student.n_layer > 1 else None


def _student(settings: Settings, smaller: dict[str, int], report: StreamReport, measured: _Measured) -> _Candidate:
    new = changed(settings, {"student": smaller}).student
    kinds = 1 + len(settings.lfp.bands_hz) if report.stream == "lfp" else 1
    fewer = 1 - _macs(new, report, kinds) / _macs(settings.student, report, kinds)
    saves = measured.core(measured.decoder * fewer)
    saves |= {
        "flash_bytes": report.memory.weight_bytes * fewer,
        "ram_bytes": report.state_bytes * fewer,
        "latency_ms": 1e3 * measured.decoder * fewer / report.clock_hz,
    }
    what = f"a student of d_model {new.d_model} and n_layer {new.n_layer}"
    return _Candidate("smaller-student", "decoder", what, {"student": smaller}, saves)


def _macs(student: ModelSettings, report: StreamReport, kinds: int) -> int:
    """Of a step; the tokenizer's too where the number of electrodes is known."""
    with torch.device("meta"):
        return macs_per_step(Student(student, (report.electrodes or 1) * kinds, 1, kinds=kinds))


def _bins(settings: Settings, report: StreamReport, measured: _Measured) -> Iterator[_Candidate]:
    """Bins of twice and of half the length: decoder, loop and radio work once a bin, the front end once a sample."""
    once = measured.core(measured.decoder + measured.loop)
    once["power_uw"] += report.power_uw["radio"] or 0.0
    once["bandwidth_bps"] = report.bandwidth_bps.decoded
    late = (report.latency_ms["bin_wait"] or 0.0) + (report.latency_ms.get("averaging") or 0.0)
    ring = float(report.memory.adc_buffer_bytes)
    radio, decoder = (report.power_uw["radio"] or 0.0), once["power_uw"] - (report.power_uw["radio"] or 0.0)
    longer, shorter = 2 * settings.bin_ms, settings.bin_ms // 2
    delay = settings.output_delay_ms // longer * longer
    yield _Candidate(
        "longer-bins",
        "radio" if radio > decoder else "decoder",
        f"bins of {longer} ms",
        {"bin_ms": longer} | ({"output_delay_ms": delay} if delay != settings.output_delay_ms else {}),
        {name: value / 2 for name, value in once.items()} | {"latency_ms": settings.output_delay_ms - delay - late, "ram_bytes": -ring},
    )
    if settings.bin_ms % 2 == 0:
        costs = {name: -value for name, value in once.items()}
        saved = costs | {"latency_ms": late / 2, "ram_bytes": ring / 2}
        yield _Candidate("shorter-bins", "bin_wait", f"bins of {shorter} ms", {"bin_ms": shorter}, saved)
