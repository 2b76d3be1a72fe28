"""Hints from measured shares: on the demo's report, and on reports of which something is too large."""

import dataclasses

import pytest

from firmware_sim.budgets import Budget
from firmware_sim.bundle import Bundle
from firmware_sim.bundle_metadata import Stage
from firmware_sim.components import load_components
from firmware_sim.simulate import RegionStep
from firmware_sim.stream_report import stream_report
from firmware_sim.timing import ZERO
from firmware_sim.workload import Delays, Sensed
from quantization.summaries import R2
from realm_edge.app.rundir import RunDir
from realm_edge.app.verdict.form import Hint
from realm_edge.app.verdict.hints import apply, hints
from realm_edge.errors import UserError
from realm_edge.frontend import averaging_s, filter_delay_s
from realm_edge.settings import Settings, changed
from tests.firmware_sim.test_stream_report import REGIONS, region, result

DEMO = Settings()
LATE = Delays(filters=filter_delay_s(DEMO), averaging=averaging_s(DEMO))
ROOMY = {"power_uw": 1e6, "latency_ms": 1e4, "bandwidth_bps": 1e6, "flash_bytes": 1e6, "ram_bytes": 1e6, "r2": 0.0, "r2_loss": 1.0}


def report(front=44_608.0, decoder=85_747.0, stream="lfp", delays=LATE, r2=(0.71, 0.7), **limits):
    """Of the demo on the Cortex-M4, with bins of 10 ticks and 20 ms."""
    stages = [Stage(prefix=f"realm_{name}", rate_hz=rate, state_bytes=3_000, scratch_bytes=1_000, weight_bytes=weights)
              for name, rate, weights in (("frontend", 500.0, 0), ("decoder", 50.0, 15_000))]  # fmt: skip
    cycles = {"frontend": front, "decoder": decoder, "send": 50.0, "loop": 44.0}
    regions = REGIONS | {name: region(value, value, REGIONS[name].visits, 0.0, 0.0) for name, value in cycles.items()}
    if not front:
        regions |= {"frontend": RegionStep(ZERO, 0.0, None)}
    bundle = Bundle(result().bundle.path, stream, "cortex-m4", stages[0] if front else None, stages[1], 150)
    ran = result(bundle=bundle, regions=regions, tick_values=32, output_values=2)
    budgets = [Budget(name, limit, "test") for name, limit in (ROOMY | limits).items()]
    measured = R2(float=r2[0], int8=r2[1], wiener=0.5)
    return stream_report(ran, budgets, load_components(), measured, Sensed(500.0, 200.0), delays)


def named(found):
    return {hint.name: hint for hint in found}


def by_estimate(hint):
    return float(hint.text.partition("by estimate ")[2].partition(" %")[0]) / 100


def test_where_all_holds_they_are_of_the_largest_shares():
    """34 % of the cycles are the front end and 66 % the decoder, which weighs most of the power; filters are most of the latency."""
    found = hints(DEMO, report())
    assert [hint.name for hint in found] == ["longer-bins", "wider-bands", "smaller-student"]
    assert found[0].text.startswith("66 % of the cycles are the decoder: bins of 40 ms; by estimate")
    assert "66 % of the cycles are the decoder: a student of d_model 16 and n_layer 2;" in found[2].text
    assert "of the latency is the delay of the bands' filters: one band of 6 to 35 Hz for two" in found[1].text
    assert all("R2 has to be measured anew" in hint.text and "by estimate" in hint.text for hint in found)


def test_the_front_end_speaks_first_where_it_takes_most():
    found = named(hints(DEMO, report(front=350_967.0, decoder=203_669.0)))
    assert found["fewer-bands"].text.startswith("63 % of the cycles are the front end: without the band of 70 to 200 Hz, at 200 Hz;")
    assert found["fewer-bands"].changes == {"lfp": {"rate_hz": 200, "bands_hz": [[6.0, 15.0], [15.0, 35.0], [35.0, 70.0]]}}
    assert "smaller-student" not in found


def test_savings_by_hand():
    """Of 400,000 cycles a bin, 250,000 in the front end: 200 of 500 Hz, five of six sections. The core is what a cycle costs."""
    made = report(front=250_000.0, decoder=149_906.0, power_uw=1000.0)
    found = hints(DEMO, made)
    assert [hint.name for hint in found] == ["fewer-bands", "longer-bins", "smaller-student"]
    total, core, pins = made.power_uw["total"], made.power_uw["mcu_active"], made.power_uw["pins"]
    fewer = (core * 250 / 400 * (1 - 0.4 * 5 / 6) + 0.6 * pins) / total
    assert by_estimate(found[0]) == pytest.approx(fewer, abs=0.006)
    radio = made.power_uw["radio"]
    longer = (core * (149_906 + 50 + 44) / 400_000 + radio) / 2 / total
    assert by_estimate(named(found)["longer-bins"]) == pytest.approx(longer, abs=0.006)


def test_a_broken_power_budget_is_answered_with_all_that_lowers_power_and_the_most_first():
    found = hints(DEMO, report(power_uw=2000.0))
    assert {hint.name for hint in found} == {"smaller-student", "longer-bins", "fewer-bands"}
    assert [by_estimate(hint) for hint in found] == sorted((by_estimate(hint) for hint in found), reverse=True)
    nominal = report(power_uw=2600.0)
    assert next(row.state for row in nominal.budgets if row.name == "power_uw") == "holds only nominally"
    assert {hint.name for hint in hints(DEMO, nominal)} == {hint.name for hint in found}


def test_a_broken_latency_budget_is_answered_by_filters_averaging_and_bins():
    found = named(hints(DEMO, report(latency_ms=50.0)))
    assert set(found) == {"wider-bands", "less-averaging", "shorter-bins"}  # a smaller student saves less than a percent
    wider = changed(DEMO, found["wider-bands"].changes)
    assert wider.lfp.bands_hz == ((6.0, 35.0), (35.0, 70.0), (70.0, 200.0)) and filter_delay_s(wider) < filter_delay_s(DEMO)
    total = report().latency_ms["total"]
    assert by_estimate(found["wider-bands"]) == pytest.approx(1e3 * (filter_delay_s(DEMO) - filter_delay_s(wider)) / total, abs=0.006)
    assert (
        changed(DEMO, found["less-averaging"].changes).lfp.power_bins == 1 and "the power of the bin alone" in found["less-averaging"].text
    )
    assert by_estimate(found["less-averaging"]) == pytest.approx(20.0 / total, abs=0.006)
    assert by_estimate(found["shorter-bins"]) == pytest.approx((10.0 + 10.0) / total, abs=0.006)


def test_a_delay_by_design_is_halved_in_whole_bins():
    settings = changed(DEMO, {"output_delay_ms": 100})
    found = named(hints(settings, report(latency_ms=50.0, delays=dataclasses.replace(LATE, output_delay=0.1))))
    assert found["less-output-delay"].text.startswith("56 % of the latency is the delay by design: output_delay_ms 40;")
    assert found["less-output-delay"].changes == {"output_delay_ms": 40}
    longer = named(hints(settings, report(power_uw=1000.0, delays=dataclasses.replace(LATE, output_delay=0.1))))["longer-bins"]
    assert longer.changes == {"bin_ms": 40, "output_delay_ms": 80}


def test_nothing_is_offered_that_breaks_a_budget_which_is_kept():
    kept = report().latency_ms["total"] + 30.0
    assert "longer-bins" in named(hints(DEMO, report(power_uw=1000.0)))
    assert "longer-bins" not in named(hints(DEMO, report(power_uw=1000.0, latency_ms=kept)))  # 20 ms of a bin and 20 of averaging
    assert "shorter-bins" not in named(hints(DEMO, report(latency_ms=50.0, power_uw=3500.0)))


def test_nothing_is_offered_that_cannot_be_applied():
    one = changed(DEMO, {"lfp": {"bands_hz": [[70.0, 200.0]], "power_bins": 1}, "student": {"d_model": 8, "n_layer": 1, "headdim": 8}})
    found = named(hints(one, report(power_uw=1000.0, latency_ms=10.0, delays=Delays(filters=filter_delay_s(one)))))
    assert not {"fewer-bands", "wider-bands", "less-averaging", "smaller-student", "lower-rate"} & set(found)
    odd = changed(DEMO, {"bin_ms": 10, "lfp": {"rate_hz": 500}})
    assert "shorter-bins" not in named(hints(changed(odd, {"bin_ms": 25, "lfp": {"rate_hz": 520}}), report(latency_ms=50.0)))


def test_a_rate_above_what_the_bands_need_is_lowered_first():
    fast = changed(DEMO, {"lfp": {"rate_hz": 1000}})
    found = named(hints(fast, report(power_uw=1000.0)))
    assert found["lower-rate"].changes == {"lfp": {"rate_hz": 500}} and changed(fast, found["lower-rate"].changes) == DEMO
    assert "lower-rate" not in named(hints(DEMO, report(power_uw=1000.0)))


def test_a_student_gets_narrower_and_then_shallower():
    narrow = {"student": {"d_model": 8, "headdim": 8}}
    assert named(hints(DEMO, report(power_uw=1000.0)))["smaller-student"].changes == {"student": {"d_model": 16, "headdim": 16}}
    found = named(hints(changed(DEMO, narrow), report(power_uw=1000.0)))
    assert found["smaller-student"].changes == {"student": {"n_layer": 1}}
    assert "a student of d_model 8 and n_layer 1;" in found["smaller-student"].text


def test_every_change_makes_valid_settings_and_other_ones():
    for made in (report(), report(power_uw=1000.0), report(latency_ms=50.0), report(flash_bytes=1e4), report(ram_bytes=1e4)):
        assert hints(DEMO, made)
        for hint in hints(DEMO, made):
            assert changed(DEMO, hint.changes) != DEMO, hint.name


def test_what_does_not_fit_the_clock_is_answered_by_cycles():
    made = report(front=3e6, decoder=1e6)
    assert made.power_uw["total"] is None
    found = hints(DEMO, made)
    assert found[0].name == "fewer-bands" and found[0].text.startswith("75 % of the cycles are the front end")
    assert "50 % less cycles" in found[0].text  # 3/4 of 1 - 2/5 * 5/6


def test_bands_are_no_matter_of_spikes_or_of_features_from_elsewhere():
    for made in (report(stream="spike", delays=Delays(), power_uw=100.0), report(front=0.0, delays=Delays(), power_uw=100.0)):
        assert set(named(hints(DEMO, made))) == {"smaller-student", "longer-bins"}


def test_what_integers_lose_is_answered_by_more_bits_and_missing_r2_by_nothing():
    found = hints(DEMO, report(r2=(0.71, 0.6), r2_loss=0.005))
    assert [hint.changes for hint in found] == [{"quantize": {"activations": "int16"}}]
    assert hints(DEMO, report(r2=(-0.1, -0.1))) == ()


def test_a_hint_makes_settings_and_a_place_for_a_run(tmp_path):
    run = RunDir.create(tmp_path / "run", DEMO)
    hint = named(hints(DEMO, report(power_uw=1000.0)))["smaller-student"]
    settings, folder = apply(run, hint)
    assert settings.student.d_model == 16 and settings.lfp == DEMO.lfp
    assert folder == tmp_path / "run" / "hints" / "smaller-student" and not folder.exists()
    with pytest.raises(UserError, match=r"run: hint 'mine': lfp\.rate_hz: .* \(value 0\)"):
        apply(run, Hint(name="mine", text="", changes={"lfp": {"rate_hz": 0}}))
