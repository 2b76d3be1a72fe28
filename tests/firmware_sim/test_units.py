import pytest

from firmware_sim.units import check_unit, factor
from realm_edge.errors import UserError


@pytest.mark.parametrize(
    ("unit", "wanted", "times"),
    [
        ("mW", "uW", 1e3),
        ("pJ/cycle", "uJ/cycle", 1e-6),
        ("uA/kHz", "uA/Hz", 1e-3),
        ("bytes/packet", "b/packet", 8.0),
        ("V*mA", "uW", 1e3),
        ("V/mA", "ohm", 1e3),
        ("K/mW", "K/uW", 1e-3),
        ("mW/cm/cm", "W/m/m", 10.0),
        ("cycles", "cycle", 1.0),
        ("", "", 1.0),
    ],
)
def test_a_value_in_another_unit(unit, wanted, times):
    check_unit(unit)
    assert factor(unit, wanted) == pytest.approx(times)


@pytest.mark.parametrize("unit", ["furlong", "mW/", "3*mW", "mW**9999999", "uW per channel", "W" * 200])
def test_what_is_no_unit_is_refused(unit):
    with pytest.raises(ValueError, match=r"."):
        check_unit(unit)


def test_a_cycle_is_no_angle_and_a_channel_no_number():
    for unit, wanted in (("cycle", ""), ("uW/channel", "uW"), ("pJ/cycle", "pJ/conversion"), ("mW", "pJ")):
        with pytest.raises(UserError, match="a figure in"):
            factor(unit, wanted)
