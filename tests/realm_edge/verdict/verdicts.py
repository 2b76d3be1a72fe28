"""A verdict that is made up, figures and all, of the shape that real ones have."""

from collections.abc import Sequence
from typing import Any

from firmware_sim.budgets import State
from firmware_sim.power.place import Heat
from firmware_sim.ranges import Comparison, Turn
from firmware_sim.verdict.candidate import Candidate, shipped
from firmware_sim.verdict.table import Cell, Row, Table
from realm_edge.app.verdict.form import Accuracy, Hint, Verdict
from realm_edge.app.verdict.systems import systems

CHANNELS = (32, 96, 256, 1024)
PARTS = {"cortex-m4": "STM32L4R5", "stm32u385": "STM32U385", "nrf54l15": "nRF54L15", "rv32imc": "generic Ibex SoC"}
LINKS = {"ble-1m": 0.8e6, "ble-2m": 1.4e6, "medradio": 15e3, "uwb": 2e8, "backscatter": 1e3}  # made-up capacities, b/s
BUDGET_UW = 17241.0
R2 = {"lfp": 0.523, "lfp-200": 0.497, "sbp": 0.612, "spike": 0.603}
COMPARED: dict[str, Any] = {
    **{"draws": 10_000, "seed": 0, "probability": 0.87, "ratio": (0.9, 1.5, None)},
    "turns": (Turn(figure="sensing.spike-detector", share=0.31),),
}
_ENERGY = {"cortex-m4": 4.6, "stm32u385": 1.0, "nrf54l15": 1.1, "rv32imc": None}
_SENSING = {"lfp": 2.0, "lfp-200": 1.2, "sbp": 4.1, "spike": 9.3}
_SOFTWARE = {"lfp": 10.3, "lfp-200": 3.9, "sbp": 58.0, "spike": 212.0}
_BITS = {"lfp": 12e3, "lfp-200": 2.4e3, "sbp": 24e3, "spike": 3e5}


def made_up(
    channels: Sequence[int] = CHANNELS, parts: Sequence[str] = tuple(PARTS), links: Sequence[str] = tuple(LINKS), **changes: Any
) -> Verdict:
    """A table for every number of channels and part, over the first link; a map over all links."""
    tables = tuple(table(count, part, links[0]) for count in channels for part in parts)
    cells = tuple(_cell(table(count, part, link)) for part in parts for count in channels for link in links)
    values: dict[str, Any] = {
        "question": "Does this decoder, on this signal, fit this implant, and is LFP worth it against spikes?",
        "answer": f"{tables[0].sentence} {tables[0].lfp_sentence}",
        "context": "An estimate for design comparison, from simulated firmware and published figures. It is no measurement of a device, "
        "and says nothing about what may be implanted.",
        "recordings": (),
        "synthetic": True,
        "budget_uw": BUDGET_UW,
        "budget_source": "half of the 34.5 mW that warm the cortex by 1 degC (made up)",
        "r2_tolerance": 0.1,
        "draws": 10_000,
        "seed": 0,
        "accuracies": tuple(accuracy(signal, count) for count in channels for signal in R2),
        "tables": tables,
        "map": cells,
        "heat": HEAT,
        "hints": HINTS,
        "systems": systems(),
    }
    return Verdict(**values | changes)


def table(channels: int, target: str, link: str) -> Table:
    """All shipped scenarios."""
    rows = [row(candidate, channels, target, link) for candidate in shipped()]
    rows.sort(key=lambda one: (one.power_uw is None, one.power_uw or 0.0, one.scenario))
    good = [one for one in rows if one.eligible]
    winner, second = (*good, None, None)[:2]
    where = f"{channels} channels on {PARTS[target]} over {link.upper()}"
    if winner:
        sentence = f'{where}: least is "{winner.title}": {_mw(winner)}, R2 {winner.r2:.2f}.'
        if second:
            sentence += (
                f" It needs less than each of {len(good) - 1} others in {100 * (_probability(winner, second) or 0):.0f} % of 10,000 "
            )
            sentence += f'draws; the next is "{second.title}": {_mw(second)}, R2 {second.r2:.2f}.'
    else:
        sentence = f"{where}: no scenario is eligible. {_reasons(rows)}"
    lfp, spikes = (next((one for one in rows if one.signal == signal and one.power_uw), None) for signal in ("lfp", "spike"))
    compared = lfp and spikes and Comparison(against=spikes.scenario, **COMPARED)
    return Table(
        channels=channels,
        target=target,
        part=PARTS[target],
        link=link,
        rows=tuple(rows),
        winner=winner.scenario if winner else None,
        runner_up=second.scenario if second else None,
        sentence=sentence,
        probability=_probability(winner, second),
        turns=(Turn(figure="sensing.adc-12", share=0.214), Turn(figure="radio.ble-event", share=0.083)) if second else (),
        lfp_sentence=_lfp_sentence(lfp, spikes),
        lfp_against_spikes=compared or None,
        unverified=("sensing.pin: 10 (5 to 20) pF (assumption)", f"mcu.{target}.wakeup: 45 (20 to 100) us (times assumed)"),
    )


def row(candidate: Candidate, channels: int, target: str, link: str) -> Row:
    """One scenario, priced by a formula of this file."""
    signal, energy, capacity = candidate.signal, _ENERGY[target], LINKS[link]
    payload = {"decoded": 1600.0, "features": 80.0 * channels, "samples": _BITS[signal] * channels * (0.3 if candidate.compression else 1)}
    bits, load = payload[candidate.sends], channels * _SOFTWARE[signal] / 21.5e3
    text, clock = "fits", candidate.frontend == "software" and load > 1
    if clock:
        text = f"does not fit: needs a clock of {160 * load:.1f} MHz, {PARTS[target]} has 96 MHz"
    elif bits > capacity:
        text = f"the link cannot carry this: {bits / 1e6:.2f} Mb/s would need {bits / capacity:.1f} times its time"
    fits, tops = not clock and bits <= capacity, candidate.frontend == "software" and load > 0.7
    parts: dict[str, float | None] = dict.fromkeys(("sensing", "mcu_active", "radio", "total"))
    if fits and energy:
        work = (_SOFTWARE[signal] if candidate.frontend == "software" else 0.4) * channels + (
            310.0 if candidate.sends == "decoded" else 40.0
        )
        parts = {"sensing": _SENSING[signal] * channels, "mcu_active": work * energy, "radio": 118.0 + bits / 900}
        parts["total"] = sum(part or 0.0 for part in parts.values())
    power, r2 = parts["total"], r2_of(signal, channels)
    high = None if power is None or tops else 1.45 * power
    state: State | None = None if power is None else "broken" if power > BUDGET_UW else "holds"
    if state == "holds" and (high is None or high > BUDGET_UW):
        state = "holds only nominally"
    why = "" if fits else text
    if not why:
        worse = r2 is not None and r2 < max(R2.values()) - 0.1
        why = "no power figure for this part" if power is None else "the budget is broken" if state == "broken" else ""
        why = why or ("no decoder of this signal was trained" if r2 is None else "R² is more than 0.1 below the best" if worse else "")
    return Row(
        **candidate.model_dump(include={"title", "signal", "frontend", "sends"}),
        scenario=candidate.name,
        fits=fits,
        fit_text=text,
        power_uw=power,
        power_uw_range=(None if power is None else 0.72 * power, high),
        parts_uw=parts,
        payload_bps=bits,
        link_share=bits / capacity if fits else None,
        latency_ms=61.7 + load if fits else None,
        latency_ms_range=(60.2, 64.1 + load) if fits else (None, None),
        state=state,
        r2=r2,
        eligible=not why,
        why_not=why,
        firmware="1.0 s of noise, 50 bins, equal to onnxruntime" if candidate.frontend == "software" else "decoder alone, 50 bins",
    )


def accuracy(signal: Any, channels: int) -> Accuracy:
    """Of one signal."""
    r2 = r2_of(signal, channels)
    if r2 is None:
        return Accuracy(signal=signal, channels=None, r2_float=None, r2_int8=None, text="the recording has no spiking band")
    return Accuracy(signal=signal, channels=min(channels, 96), r2_float=(r2 or 0) + 0.002, r2_int8=r2, text="student, 3,000 bins")


def r2_of(signal: str, channels: int) -> float | None:
    """Of the firmware's bits: LFP falls behind with more channels, and one signal has no decoder."""
    if signal == "sbp" and channels == 1024:
        return None
    return R2[signal] - (0.04 if signal.startswith("lfp") and channels >= 256 else 0.0)


def _mw(one: Row) -> str:
    ends = ("does not fit" if end is None else f"{end / 1e3:.3g} mW" for end in one.power_uw_range)
    return f"{(one.power_uw or 0.0) / 1e3:.3g} mW ({' to '.join(ends)})"


def _lfp_sentence(lfp: Row | None, spikes: Row | None) -> str:
    if lfp is None or spikes is None:
        return "LFP against spikes: no scenario of one of them fits, keeps the budget and has a decoder."
    both = "; ".join(f'"{one.title}" with {(one.power_uw or 0.0) / 1e3:.3g} mW, R2 {one.r2:.2f}' for one in (lfp, spikes))
    return f"LFP against spikes, each at its least: {both}. LFP needs less in 87 % of the draws."


def _reasons(rows: Sequence[Row]) -> str:
    missing = {
        "does not fit": sum(not one.fits for one in rows),
        "without a power figure": sum(one.fits and one.power_uw is None for one in rows),
    }
    return f"Of {len(rows)}: {', '.join(f'{what} {number}' for what, number in missing.items() if number)}."


def _probability(winner: Row | None, second: Row | None) -> float | None:
    if winner is None or second is None:
        return None
    assert winner.power_uw and second.power_uw
    return min(1.0, 0.5 + 1.6 * (second.power_uw / winner.power_uw - 1))


def _cell(of: Table) -> Cell:
    best = next((one for one in of.rows if one.scenario == of.winner), None)
    return Cell(
        channels=of.channels,
        target=of.target,
        link=of.link,
        winner=of.winner,
        signal=best.signal if best else None,
        power_uw=best.power_uw if best else None,
        probability=of.probability,
        text=of.sentence if best else _reasons(of.rows),
    )


def _heat(place: Any, supply: Any, limit: str, heat: float | None, most: float | None) -> Heat:
    state: State | None = None if heat is None or most is None else "holds" if 1.4 * heat < most else "holds only nominally"
    return Heat(
        place=place,
        supply=supply,
        limit=limit,
        heat_uw=heat,
        heat_uw_range=(None, None) if heat is None else (0.7 * heat, 1.4 * heat),
        limit_uw=most,
        state=state,
        text="no figure with a source" if most is None else "the coil's losses included" if supply == "inductive" else "",
        source="Kim et al. 2007, abstract (made up)" if most else "",
        confidence="abstract" if most else "unverified",
    )


HEAT = (
    _heat("cortex", "battery", "1 degC", 571.0, 34500.0),
    _heat("cortex", "inductive", "40 mW/cm2", 1142.0, 1400.0),
    _heat("skull", "ultrasonic", "2 degC", 980.0, None),
    _heat("chest", "battery", "2 degC", None, None),
)
HINTS = (
    Hint(name="fewer-bands", text="63 % of the cycles are the front end: fewer bands", changes={"lfp": {"bands_hz": [[4, 30], [70, 200]]}}),
    Hint(name="longer-bins", text="38 % of the power is the radio: longer bins", changes={"bin_ms": 40}),
)
