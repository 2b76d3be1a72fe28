from dataclasses import replace

import numpy as np
import pytest

from firmware_sim.budgets import Budget
from firmware_sim.components import Components, load_components
from firmware_sim.implant import run_timeline
from firmware_sim.ranges import compare
from firmware_sim.targets import get_target
from firmware_sim.verdict.judge import _sentence, cell, judge
from firmware_sim.verdict.link import get_link
from realm_edge.shares import format_share
from tests.firmware_sim.verdict.fixtures import BLE, BUDGET, M4, R2, case, every, priced

UWB = get_link("uwb")


def table(*names: str, link=BLE, r2=R2, budget=BUDGET, **kwargs):
    return judge([priced(name, M4, link) for name in names], r2, budget, load_components(), **{"draws": 500, **kwargs})


def row(found, name: str):
    return next(each for each in found.rows if each.scenario == name)


def test_least_power_of_those_that_decode_as_well_as_the_best_wins():
    found = judge(every(), R2, BUDGET, load_components(), draws=500)
    powers = {each.scenario: each.power_uw for each in found.rows if each.eligible}
    assert found.winner == min(powers, key=powers.get) == "spike-circuit-features" and found.runner_up == sorted(powers, key=powers.get)[1]
    for each in found.rows:
        plain = run_timeline(case(each.scenario).nominal, load_components())
        assert each.power_uw == plain.power_uw["total"] and each.latency_ms == plain.latency_ms["total"]
        assert each.parts_uw == {part: value for part, value in plain.power_uw.items() if part != "total"}
    order = [(not each.fits, each.power_uw or 0.0) for each in found.rows]
    assert order == sorted(order)
    assert (found.channels, found.target, found.part, found.link) == (32, "cortex-m4", "STM32L4R5", "ble-nrf52840")
    assert any(line.startswith("radio.ble.sends") for line in found.unverified)
    assert f"{format_share(found.probability)} of 500 draws" in found.sentence and '"spikes, front end in a circuit' in found.sentence


def test_a_winner_that_is_too_late_wins_and_the_sentence_says_it():
    found = table("lfp-circuit-decoded", latency_ms=20.0)
    late = row(found, "lfp-circuit-decoded").latency_ms
    assert found.winner == "lfp-circuit-decoded" and found.sentence.endswith(f" Its latency, {late:.0f} ms, breaks the budget of 20 ms.")
    assert "latency" not in table("lfp-circuit-decoded", latency_ms=late).sentence


def test_spiking_band_power_may_win():
    found = table("lfp-circuit-decoded", "sbp-circuit-decoded", "spike-circuit-decoded")
    assert found.winner == "sbp-circuit-decoded" and found.sentence.count("spiking-band power") == 1
    assert cell(found).signal == "sbp"


def test_lfp_is_held_against_spikes_whoever_wins():
    """Each side is judged by itself: the least of LFP decodes worse than the spiking band, and is compared all the same."""
    r2 = {"lfp": 0.40, "lfp-200": 0.10, "sbp": 0.90, "spike": 0.60}
    names = ("lfp-200-samples", "lfp-circuit-decoded", "lfp-software-decoded", "sbp-circuit-decoded", "spike-software-decoded")
    found = table(*names, r2=r2)
    pair = (case("lfp-circuit-decoded"), case("spike-software-decoded"))
    assert found.winner == "sbp-circuit-decoded" and not row(found, "lfp-circuit-decoded").eligible
    assert found.lfp_against_spikes == compare(*pair, "spike-software-decoded", load_components(), 500)
    assert found.lfp_against_spikes.probability == 1.0 and "LFP less in 100 % of the draws" in found.lfp_sentence
    assert (
        found.lfp_sentence.startswith('LFP needs 1.88 mW ("LFP, front end in a circuit')
        and "R2 0.40" in found.lfp_sentence
        and "R2 0.60" in found.lfp_sentence
    )
    none = table("lfp-circuit-decoded", "sbp-circuit-decoded")
    assert none.lfp_against_spikes is None and "no scenario of spikes fits" in none.lfp_sentence


def test_each_reason_to_be_left_out_is_said():
    found = table("lfp-200-samples", "lfp-software-decoded", "spike-software-decoded", "sbp-samples", budget=Budget("power_uw", 5e3, "x"))
    assert row(found, "lfp-software-decoded").why_not == "" and found.winner == "lfp-software-decoded"
    assert row(found, "spike-software-decoded").why_not == "breaks the power budget: 9.38 mW of 5 mW"
    assert row(found, "spike-software-decoded").state == "broken"
    assert row(found, "sbp-samples").why_not == row(found, "sbp-samples").fit_text and "cannot carry" in row(found, "sbp-samples").why_not
    assert "only scenario" not in found.sentence
    poor = table("lfp-200-samples", "lfp-software-decoded", r2={"lfp-200": 0.54, "lfp": 0.60})
    assert row(poor, "lfp-200-samples").why_not == "R2 of 0.54, more than 0.05 below the best, 0.60"
    assert poor.winner == "lfp-software-decoded" and "It is the only scenario that is eligible." in poor.sentence
    none = table("lfp-200-samples", "lfp-software-decoded", r2={"lfp": 0.60})
    assert row(none, "lfp-200-samples").why_not == "no decoder of its signal was trained"


def test_the_best_r2_is_of_those_that_fit():
    """Samples of the spiking band do not fit the link: what would decode best there is no measure for the others."""
    found = table("sbp-samples", "lfp-software-decoded", r2={"sbp": 0.9, "lfp": 0.5})
    assert found.winner == "lfp-software-decoded"


def test_a_link_without_an_energy_figure_never_wins():
    found = table("lfp-samples", "lfp-software-decoded", link=get_link("mban-2360"))
    assert found.winner is None and found.probability is None and found.turns == ()
    assert {each.why_not for each in found.rows} == {"no energy figure with a source: the link has none"}
    assert found.sentence.endswith("no scenario is eligible. Of 2: without a power figure 2.")
    assert cell(found).winner is None and found.sentence.endswith(f": no scenario is eligible. {cell(found).text}")


def test_where_nothing_is_eligible_it_says_why():
    names = ("sbp-samples", "spike-software-decoded", "lfp-software-decoded")
    found = table(*names, budget=Budget("power_uw", 5e3, "x"), r2={"spike": 0.6})
    assert found.sentence.endswith("Of 3: does not fit 1, over the power budget 1, without a decoder 1.")
    unpriced = judge([priced("lfp-software-decoded", get_target("nrf52840"))], R2, BUDGET, load_components())
    assert unpriced.rows[0].why_not == "no power figure for the part"


def test_firmware_that_does_not_fit_has_its_reason_and_comes_last():
    broken = priced("lfp-software-decoded", fits=False, text="needs 3 MB of flash", frontend_cycles=None)
    found = judge([broken, priced("spike-software-decoded")], R2, BUDGET, load_components(), draws=100)
    last = found.rows[-1]
    assert (last.scenario, last.fits, last.power_uw, last.state, last.why_not) == (
        *("lfp-software-decoded", False, None, None),
        "needs 3 MB of flash",
    )
    assert last.payload_bps == 1600 and found.winner == "spike-software-decoded"


def test_of_two_the_probability_and_what_turns_it_are_those_of_a_comparison():
    """The plain comparison of ``simulate`` is the oracle: the same draws, the same turns."""
    for names in (("lfp-circuit-decoded", "lfp-200-software-decoded"), ("sbp-circuit-decoded", "spike-circuit-decoded")):
        found = table(*names, draws=2_000)
        assert found.winner == names[0]
        oracle = compare(case(names[0]), case(names[1]), "other", load_components(), draws=2_000)
        assert (found.probability, found.turns) == (oracle.probability, oracle.turns)
    assert len(found.turns) == 2 and 0.5 < found.probability < 1.0


def test_a_tie_is_said_as_one():
    found = table("lfp-samples", "lfp-circuit-features", link=UWB, draws=2_000)
    assert found.probability < 2 / 3 and ": a tie. " in found.sentence
    assert found.sentence.count("R2 0.60") == 2


def test_a_sentence_says_all_of_the_draws_only_where_it_is_all():
    """As the page and the terminal do, which would else hold other numbers than their own answer."""
    rows = table("lfp-samples", "lfp-circuit-features").rows
    for probability, said in ((0.9996, "in > 99 % of 500 draws"), (1.0, "in 100 % of 500 draws")):
        assert said in _sentence(priced("lfp-samples"), rows, rows, probability, 500)


def test_a_range_that_is_a_point_is_said_as_one():
    library = load_components()
    points = Components({each.name: replace(each, low=each.value, high=each.value) for each in library.all()})
    found = judge([priced("lfp-samples"), priced("spike-circuit-features")], R2, BUDGET, points, draws=50)
    assert all(each.power_uw_range == (each.power_uw, each.power_uw) for each in found.rows) and found.probability == 1.0
    assert "needs least, 1 mW, R2 0.61, and less than the other that is eligible in 100 %" in found.sentence


def test_draws_that_do_not_fit_need_more_than_any_power():
    """At its lowest efficiency MedRadio cannot carry LFP's samples, which is when spikes in software need less."""
    found = table("lfp-samples", "spike-software-decoded", link=get_link("medradio-402"), draws=2_000)
    assert found.winner == "lfp-samples" and row(found, "lfp-samples").power_uw_range[1] is None
    assert row(found, "lfp-samples").state == "holds only nominally" and "to more than fits)" in found.sentence
    assert found.turns[0].figure == "link.medradio-402.efficiency"


def test_a_table_is_the_same_to_the_digit_and_by_seed_another():
    names = ("lfp-samples", "lfp-circuit-features")
    assert table(*names, link=UWB) == table(*names, link=UWB)
    assert table(*names, link=UWB) != table(*names, link=UWB, seed=1)
    plain = table(*names, link=UWB, with_turns=False)
    assert plain.turns == () and plain.probability == table(*names, link=UWB).probability


def test_figures_without_ranges_leave_no_doubt():
    figures = {each.name: each for each in load_components().all()}
    fixed = Components({name: type(each)(**{**vars(each), "low": each.value, "high": each.value}) for name, each in figures.items()})
    flat = {name: (value, value, value) for name, value in (("frontend_cycles", 44_608), ("last_block_cycles", 44_608))}
    flat |= {"decoder_cycles": (85_747,) * 3, "loop_cycles": (44,) * 3}
    found = judge([priced("lfp-software-decoded", **flat), priced("lfp-samples")], R2, BUDGET, fixed, draws=50)
    assert (found.probability, found.turns) == (1.0, ())
    for each in found.rows:
        assert each.power_uw_range == (each.power_uw, each.power_uw)
    assert row(found, "lfp-software-decoded").power_uw == pytest.approx(2502.55, abs=0.005)


def test_scenarios_of_different_places_are_no_table():
    for others in ([], [priced("lfp-samples"), priced("lfp-samples", M4, UWB)]):
        with pytest.raises(ValueError, match="one number of channels"):
            judge(others, R2, BUDGET, load_components())


def test_the_cell_is_the_tables_winner():
    found = table("lfp-samples", "lfp-circuit-features", link=UWB)
    assert cell(found).model_dump() == {
        "channels": 32,
        "target": "cortex-m4",
        "link": "uwb",
        "winner": "lfp-samples",
        "signal": "lfp",
        "power_uw": row(found, "lfp-samples").power_uw,
        "probability": found.probability,
        "text": found.sentence,
    }


def test_the_probability_is_against_all_others_at_once():
    """Three of which two are each other's double: the first beats both in exactly the draws in which it beats one."""
    one = table("lfp-samples", "lfp-circuit-features", link=UWB)
    both = judge(
        [priced("lfp-samples", M4, UWB), priced("lfp-circuit-features", M4, UWB), priced("spike-software-decoded", M4, UWB)],
        *(R2, BUDGET, load_components()),
        draws=500,
    )
    assert both.probability == one.probability
    assert np.isclose(sum(turn.share for turn in both.turns), sum(turn.share for turn in one.turns))
