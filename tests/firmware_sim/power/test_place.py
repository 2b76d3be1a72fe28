"""Each term of heat by place, with round figures and by hand."""

import pytest

from firmware_sim.components import Components, load_components, parse_components
from firmware_sim.power.place import SURFACE_CM2, heats
from realm_edge.errors import UserError

ROUND = {  # name: low, value, high, unit, confidence
    "supply.battery": (4.0, 4.0, 4.0, "V", "secondary"),
    "supply.battery-resistance": (1000.0, 2000.0, 4000.0, "ohm", "derived"),
    "supply.inductive-receiver": (0.5, 0.8, 1.0, "", "abstract"),
    "supply.inductive-link": (0.25, 0.5, 0.5, "", "abstract"),
    "supply.ultrasonic-receiver": (0.25, 0.5, 1.0, "", "abstract"),
    "supply.ultrasonic-link": (0.1, 0.1, 0.1, "", "derived"),
    "heat.cortex": (0.05, 0.1, 0.2, "K/mW", "abstract"),
    "heat.skull": (5.0, 20.0, 40.0, "mW/K", "abstract"),
    "heat.rise-tissue": (1.0, 1.0, 1.0, "K", "abstract"),
    "heat.rise-surface": (2.0, 2.0, 2.0, "K", "primary"),
    "heat.flux": (30.0, 40.0, 50.0, "mW/cm/cm", "secondary"),
}


def figures(**changed):
    text = "".join(
        f'[{name}]\nlow = {low}\nvalue = {value}\nhigh = {high}\nunit = "{unit}"\ncondition = "test"\nsource = "{name} paper"\n'
        f'confidence = "{confidence}"\n'
        for name, (low, value, high, unit, confidence) in (ROUND | changed).items()
    )
    return Components(parse_components(text, "round"))


def found(power=8000.0, ends=(4000.0, 16_000.0), components=None, **surface):
    rows = heats(power, ends, components or figures(), **surface)
    return {(row.place, row.supply, row.limit): row for row in rows}


def test_every_place_with_every_supply_against_every_limit():
    rows = found()
    assert len(rows) == 27
    assert {place for place, _, _ in rows} == {"cortex", "skull", "chest"}
    assert {supply for _, supply, _ in rows} == {"battery", "inductive", "ultrasonic"}
    assert {limit for _, _, limit in rows} == {"1 degC", "2 degC", "40 mW/cm2"}


def test_a_receiver_loses_at_the_implants_place_and_a_transmitter_outside():
    row = found()["cortex", "inductive", "1 degC"]
    assert row.heat_uw == pytest.approx(8000 / 0.8)
    assert row.heat_uw_range == pytest.approx((4000 / 1.0, 16_000 / 0.5))
    # 10 mW at the receiver, of which 2 are lost there; 20 at the transmitter, of which its link hands on a half.
    assert "what follows the coil loses 2 mW here; the transmitter outside the body draws 20 mW" in row.text
    row = found()["chest", "ultrasonic", "1 degC"]
    assert row.heat_uw == pytest.approx(16_000) and row.heat_uw_range == pytest.approx((4000, 64_000))
    assert "the transmitter outside the body draws 160 mW; what tissue absorbs on the way" in row.text


def test_a_battery_loses_by_its_resistance_where_it_lies():
    """8 mW at 4 V are 2 mA; 2 kohm times their square are 8 mW more. Both ends: 1 mA in 1 kohm, 4 mA in 4 kohm."""
    for place in ("skull", "chest"):
        row = found()[place, "battery", "40 mW/cm2"]
        assert row.heat_uw == pytest.approx(8000 + 8000)
        assert row.heat_uw_range == pytest.approx((4000 + 1000, 16_000 + 64_000))
        assert "the battery beside it loses 8e+03 uW here" in row.text
    cortex = found()["cortex", "battery", "40 mW/cm2"]
    assert (cortex.heat_uw, cortex.heat_uw_range) == (8000, (4000, 16_000))
    assert "its battery lies in a can in the chest and loses 8e+03 uW there" in cortex.text


def test_limits_by_hand():
    rows = found()
    assert rows["cortex", "battery", "1 degC"].limit_uw == pytest.approx(1e3 / 0.1)
    assert rows["cortex", "battery", "2 degC"].limit_uw == pytest.approx(2e3 / 0.1)
    assert rows["skull", "battery", "1 degC"].limit_uw == pytest.approx(20e3)
    assert rows["skull", "battery", "2 degC"].limit_uw == pytest.approx(40e3)
    assert rows["chest", "battery", "40 mW/cm2"].limit_uw == pytest.approx(40e3 * SURFACE_CM2)
    assert found(surface_cm2=2.0)["chest", "battery", "40 mW/cm2"].limit_uw == pytest.approx(80e3)


def test_three_states_with_figures_and_limit_at_their_worse_ends():
    """The cortex takes 10 mW, at its worse end 5; the skull 20, and 5; the surface 1 cm2 * 40, and 30."""
    for power, worst, state in (
        (5.0, 5.0, "holds"),
        (5.0, 5.1, "holds only nominally"),
        (10.0, 10.0, "holds only nominally"),
        (10.1, 11.0, "broken"),
    ):
        assert found(1e3 * power, (0.0, 1e3 * worst))["cortex", "battery", "1 degC"].state == state
    for power, worst, state in (
        (2.5, 2.5, "holds"),
        (2.5, 2.6, "holds only nominally"),
        (16.1, 17.0, "broken"),
    ):  # of the coil 0.8, at worst 0.5
        assert found(1e3 * power, (0.0, 1e3 * worst))["skull", "inductive", "1 degC"].state == state
    for power, worst, state in ((30.0, 30.0, "holds"), (30.0, 31.0, "holds only nominally"), (40.1, 41.0, "broken")):
        assert found(1e3 * power, (0.0, 1e3 * worst), surface_cm2=1.0)["cortex", "battery", "40 mW/cm2"].state == state
    assert found(1e3, (1e3, None))["cortex", "battery", "1 degC"].state == "holds only nominally"  # at its worse end it does not fit


def test_words_claim_no_more_than_a_limit_under_a_model_at_a_place():
    text = found(1000.0, (1000.0, 1000.0))["cortex", "battery", "1 degC"].text
    assert text.startswith("1 mW of heat, 10 % of 10 mW: below the design limit of 1 degC at the cortex (heat.cortex paper)")
    assert "with nominal figures alone below" in found(10e3)["cortex", "battery", "1 degC"].text
    assert "above the design limit of 2 degC" in found(30e3)["cortex", "battery", "2 degC"].text
    assert not any("safe" in row.text for row in found().values())


def test_a_source_each_and_the_least_sure_confidence():
    row = found()["skull", "inductive", "2 degC"]
    assert row.source == "heat.skull paper; heat.rise-surface paper; supply.inductive-receiver paper; supply.inductive-link paper"
    assert row.confidence == "abstract"
    assert found()["cortex", "battery", "40 mW/cm2"].confidence == "secondary"
    assert found()["skull", "ultrasonic", "1 degC"].confidence == "derived"


def test_what_no_source_says_has_no_state():
    for limit in ("1 degC", "2 degC"):
        row = found()["chest", "battery", limit]
        assert (row.limit_uw, row.state, row.confidence) == (None, None, "unverified")
        assert f"no figure with a source was found for what warms the chest by {limit}" in row.text


def test_without_a_power_figure_there_is_neither_heat_nor_state():
    for row in heats(None, (None, None), figures()):
        assert (row.heat_uw, row.heat_uw_range, row.state) == (None, (None, None), None)
        assert row.text.startswith("no power figure, or the work does not fit")


@pytest.mark.parametrize("surface", [0.0, -1.0, float("nan"), float("inf")])
def test_a_surface_is_a_positive_number(surface):
    with pytest.raises(UserError, match=r"an implant's surface of .* cm2: a finite number above 0 is needed"):
        heats(1.0, (1.0, 1.0), figures(), surface)


def test_a_library_without_a_figure_or_with_another_unit_is_told():
    with pytest.raises(UserError, match=r"no figure 'heat\.rise-tissue': heat by place needs it"):
        heats(1.0, (1.0, 1.0), Components({}))
    with pytest.raises(UserError, match=r"'heat\.skull': a figure in 'mW'"):
        heats(1.0, (1.0, 1.0), figures(**{"heat.skull": (5.0, 20.0, 40.0, "mW", "abstract")}))


def test_the_shipped_figures_are_those_of_the_abstracts():
    rows = found(1000.0, (1000.0, 1000.0), load_components())
    assert rows["cortex", "battery", "1 degC"].limit_uw == pytest.approx(1e3 / 0.029)
    assert rows["skull", "battery", "1 degC"].limit_uw == pytest.approx(70e3)
    assert rows["skull", "battery", "40 mW/cm2"].limit_uw == pytest.approx(40e3 * 1.44)
    assert load_components().value("supply.battery-resistance", "ohm") == pytest.approx(0.198 * 1.08 / 0.2, rel=0.01)
    assert load_components().value("supply.ultrasonic-link", "") == pytest.approx(0.27 / 0.885, rel=0.01)
