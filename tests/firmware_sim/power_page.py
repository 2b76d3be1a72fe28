"""What docs/power.md says in figures, from the code: ``python -m tests.firmware_sim.power_page`` writes its tables anew."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from firmware_sim.components import Figure, load_components
from firmware_sim.implant import run_timeline
from firmware_sim.power.place import Heat, heats
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.ranges import RangedCase, axes, played, range_of
from firmware_sim.targets import get_target
from firmware_sim.verdict.link import get_link
from firmware_sim.workload import Workload, WorkloadRange
from tests.firmware_sim.verdict.fixtures import case as scenario_case

PAGE = Path(__file__).parents[2] / "docs" / "power.md"
BEGIN, END = "<!-- table of figures -->\n", "<!-- end of the table -->\n"
HEAT_BEGIN, HEAT_END = "<!-- table of heat -->\n", "<!-- end of the table of heat -->\n"
# Cycles of the demo on the Cortex-M4, seed 0: low, nominal, high of front end (last block, too), decoder with sending, loop.
LFP = Workload(
    channels=32,
    electrodes=32,
    sample_rate_hz=500.0,
    bandwidth_hz=200.0,
    ticks_per_bin=10,
    blocks_per_bin=1,
    bin_s=0.02,
    frontend_cycles=44_608.0,
    last_block_cycles=44_608.0,
    decoder_cycles=85_797.0,
    loop_cycles=44.0,
    output_bits=32,
)
SPIKES = replace(
    LFP,
    sample_rate_hz=30_000.0,
    bandwidth_hz=7_500.0,
    ticks_per_bin=600,
    blocks_per_bin=4,
    frontend_cycles=408_486.0,
    last_block_cycles=102_324.0,
    decoder_cycles=75_764.0,
    loop_cycles=104.0,
)
RANGES = {
    "LFP": WorkloadRange(
        replace(LFP, frontend_cycles=42_160.0, last_block_cycles=42_160.0, decoder_cycles=62_148.0, loop_cycles=36.0),
        LFP,
        replace(LFP, frontend_cycles=79_662.0, last_block_cycles=79_662.0, decoder_cycles=139_601.0, loop_cycles=132.0),
    ),
    "spikes": WorkloadRange(
        replace(SPIKES, frontend_cycles=395_346.0, last_block_cycles=99_033.0, decoder_cycles=55_715.0, loop_cycles=87.0),
        SPIKES,
        replace(SPIKES, frontend_cycles=697_102.0, last_block_cycles=174_620.0, decoder_cycles=122_908.0, loop_cycles=291.0),
    ),
}
RANGES["spikes, detector"] = RANGES["spikes"].behind_detector()
_TARGETS = ("cortex-m4", "stm32u385", "stm32u575", "rv32imc", "nrf54l15", "cc2340r5")
_SCENARIOS = {
    "RHD2000": Scenario(amplifier="rhd"),
    "10 bits": Scenario(adc_bits=10),
    "16 bits": Scenario(adc_bits=16),
    "no FIFO": Scenario(fifo=False),
    "linear regulator": Scenario(supply="ldo"),
    "nRF54L15's radio": Scenario(radio="nrf54l15"),
    "CC2340's radio": Scenario(radio="cc2340"),
}
_VERDICT = {  # scenario, and the links over which it is priced
    "lfp-circuit-decoded": ("ble-nrf52840",),
    "sbp-circuit-decoded": ("ble-nrf52840",),
    "spike-compressed": ("uwb",),
    "lfp-samples": ("medradio-402", "uwb", "optical", "inductive"),
}


def cases() -> Iterator[tuple[str, RangedCase]]:
    """What a figure may move, the plainest first."""
    for target in _TARGETS:
        for stream, work in RANGES.items():
            yield f"{stream}, {get_target(target).part}", RangedCase(work, get_target(target), 0)
    for what, scenario in _SCENARIOS.items():
        for target in ("cortex-m4", "stm32u385", "stm32u575"):
            if scenario.supply == DEFAULT.supply or get_target(target).components.active_ldo:
                yield f"LFP, {get_target(target).part}, {what}", RangedCase(RANGES["LFP"], get_target(target), 0, scenario)
    for name, over in _VERDICT.items():
        for link in over:
            yield f"`{name}`, STM32L4R5, {link}", scenario_case(name, link=get_link(link))


def moves(figure: Figure, known: list[tuple[str, RangedCase, tuple[str, ...]]]) -> str:
    """The first case whose total the figure moves, and from what to what; the others at their nominal figures."""
    for name, each, names in known:
        if figure.name in names:
            ends = (played(each, load_components(), {figure.name: end}).power_uw["total"] for end in (-1.0, 1.0))
            low, high = sorted(float(end) for end in ends if end is not None)
            return f"{name}: {low:,.0f} to {high:,.0f}"
    return "no range" if figure.low == figure.high else "no case of this table"


def table() -> str:
    """Every figure: its range, source, confidence and what it moves."""
    known = [(name, each, axes(each, load_components())) for name, each in cases()]
    lines = ["| figure | value (low to high) | confidence | source | moves a total, µW |", "|---|---|---|---|---|"]
    for figure in load_components().all():
        name, _, rest = figure.line().partition(": ")
        lines.append(f"| `{name}` | {rest} | {figure.confidence} | {figure.source} | {moves(figure, known)} |")
    return "\n".join(lines) + "\n"


def heat_table() -> str:
    """The demo's LFP stream on the STM32L4R5 at every place, with every supply, against every limit."""
    lfp = RangedCase(RANGES["LFP"], get_target("cortex-m4"), 0)
    power = run_timeline(lfp.nominal, load_components()).power_uw["total"]
    rows: dict[tuple[str, str], list[Heat]] = {}
    for heat in heats(power, range_of(lfp, load_components()).power_uw, load_components()):
        rows.setdefault((heat.place, heat.supply), []).append(heat)
    limits = [heat.limit for heat in next(iter(rows.values()))]
    lines = [f"| place | supply | heat there, mW | {' | '.join(limits)} |", f"|---|---|---|{'---|' * len(limits)}"]
    for (place, supply), row in rows.items():
        low, high = (f"{1e-3 * end:.2f}" for end in row[0].heat_uw_range if end is not None)
        cells = ("no figure" if heat.limit_uw is None else f"{1e-3 * heat.limit_uw:.1f} mW: {heat.state}" for heat in row)
        lines.append(f"| {place} | {supply} | {1e-3 * (row[0].heat_uw or 0.0):.2f} ({low} to {high}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_tables(text: str) -> str:
    """The page with its tables anew."""
    for begin, end, made in ((HEAT_BEGIN, HEAT_END, heat_table()), (BEGIN, END, table())):
        before, _, rest = text.partition(begin)
        text = before + begin + "\n" + made + "\n" + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
