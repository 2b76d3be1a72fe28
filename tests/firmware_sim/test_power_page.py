"""docs/power.md: its sums are those of the code, and its table lists the library as it is."""

import re

import pytest

from firmware_sim.components import load_components
from firmware_sim.implant import Case, run_timeline
from firmware_sim.power.place import heats
from firmware_sim.ranges import RangedCase, compare, range_of
from firmware_sim.targets import get_target
from firmware_sim.verdict.link import get_link, links
from tests.firmware_sim.power_page import LFP, PAGE, RANGES, with_tables
from tests.firmware_sim.verdict.fixtures import case

TEXT = PAGE.read_text(encoding="utf-8")
M4 = get_target("cortex-m4")


def test_the_page_computes_by_hand_what_the_code_finds():
    """Each step with the figures of the library in words; the page has its result."""
    cycles = 44_608 + 85_747 + 50 + 44 + 24
    awake = cycles * 50 / 120e6 + 50 * 45e-6
    listening, sending, turning = 1.05 * (40 + 80) + 36, 1.05 * (40 + 200), (2 * 1.05 - 1) * (150 - 40)
    event = listening + sending + turning  # microseconds
    energy = 18.8 * listening + 19.2 * sending + 0.75 * (360 + turning) + 5.1 * event  # nJ
    idle = 4.5e-3 * (20_000 - 360 - event)
    parts = {
        "sensing": 32 * (0.81 + 500 * 36e-6),
        "pins": 1.25 * 32 * 500 * 16 * 10e-12 * 3.0**2 * 1e6,
        "mcu_active": awake * 120e6 * 278e-6,
        "mcu_sleep": (1 - awake) * 6.0,
        "supply": 0.0,
        "radio": (energy + idle) / 20,
    }
    found = run_timeline(Case(LFP, M4, 0), load_components())
    assert found.power_uw == pytest.approx(parts | {"total": sum(parts.values())})
    assert found.duty_cycle == pytest.approx(awake)
    for number in (f"{cycles:,}", f"{awake:.5f}", f"{listening:g}", f"{sending:g}", f"{turning:g}", f"{event:g}", f"{energy:,.1f}"):
        assert number in TEXT, number
    for part, value in parts.items():
        assert f"| {part} | " in TEXT and f"**{value:,.1f}**" in TEXT, part
    assert f"**{sum(parts.values()):,.1f}**" in TEXT


def test_the_page_gives_the_range_and_the_comparisons_of_the_demo():
    ranged = {name: RangedCase(work, M4, 0) for name, work in RANGES.items()}
    low, high = range_of(ranged["LFP"], load_components()).power_uw
    assert f"{low:,.0f} to {high:,.0f} µW" in TEXT
    for name in ("spikes", "spikes, detector"):
        found = compare(ranged["LFP"], ranged[name], name, load_components())
        assert f"| {name} | {100 * found.probability:.1f} % | {found.ratio[0]:.2f} to {found.ratio[2]:.2f} |" in TEXT, found


def test_the_page_computes_a_relayed_scenario_by_hand():
    """Its parts are computed in tests/firmware_sim/verdict/test_pricing.py, too, from the figures in words."""
    found = run_timeline(case("lfp-circuit-features", link=get_link("uwb")).nominal, load_components()).power_uw
    section = TEXT.partition("## A relayed scenario by hand")[2].partition("##")[0]
    for part, value in found.items():
        if part != "supply":
            assert re.search(rf"^\| {part} \|.*\*\*{value:,.1f}\*\* \|$", section, re.MULTILINE), (part, value)


def test_the_page_lists_every_link_with_what_bounds_it():
    for name, link in links().items():
        bound, most = link.binding(load_components())
        allowed = link.text(load_components()).partition("allowed: ")[2].partition(";")[0]
        allowed = "no rule known" if link.bandwidth is None else allowed
        assert f"| `{name}` | {most / 1e6:.3g} | {bound} | {allowed} | " in TEXT, name
        [energy] = re.findall(rf"^\| `{name}` \|.*\| (.*) \|$", TEXT, re.MULTILINE)
        assert (energy == "none") == (not link.priced)


def test_the_page_computes_heat_by_hand():
    """The demo's 2,502.6 uW in the cortex, from a coil, against 1 degC."""
    (row,) = (
        heat
        for heat in heats(2502.55, (2502.55, 2502.55), load_components())
        if (heat.place, heat.supply, heat.limit) == ("cortex", "inductive", "1 degC")
    )
    assert row.heat_uw == pytest.approx(2502.55 / 0.81) and row.limit_uw == pytest.approx(1000 / 0.029)
    assert f"{2502.55 / 0.81:,.0f} µW" in TEXT and f"{2502.55 / 0.81 / 0.725:,.0f} µW" in TEXT and "34.5 mW" in TEXT
    assert f"{1.07 * (2502.55 / 3) ** 2 * 1e-6:.2f} µW" in TEXT


def test_the_tables_are_the_library_and_the_model():
    assert with_tables(TEXT) == TEXT, "run python -m tests.firmware_sim.power_page"
