import re
from importlib.resources import files

import numpy as np
import pytest

from firmware_sim.components import CONFIDENCES, load_components, parse_components
from realm_edge.errors import UserError

GOOD = (
    '[mcu.x.active]\nvalue = 2.5\nlow = 2\nhigh = 3.0\nunit = "pJ/cycle"\ncondition = "at 3 V"\nsource = "a data sheet"\n'
    'confidence = "primary"\n'
)
SHIPPED = parse_components(files("firmware_sim").joinpath("data/components.toml").read_text(encoding="utf-8"), "shipped")


def test_the_shipped_library_is_valid_and_remembers_what_was_used():
    components = load_components()
    assert components.used() == ()
    assert components.value("sensing.amplifier-lfp", "uW/channel") == 0.81
    assert components.value("mcu.ibex-soc.active", "pJ/cycle") > 0
    assert [figure.name for figure in components.used()] == ["mcu.ibex-soc.active", "sensing.amplifier-lfp"]
    # No silicon figure for Ibex exists: it must be shown as unverified; the amplifier's is from an abstract.
    (line,) = components.unverified()
    assert line.startswith("mcu.ibex-soc.active: 30 (5 to 100) pJ/cycle (assumption")
    assert all(figure.confidence in CONFIDENCES for figure in SHIPPED.values())


def test_a_figure_without_a_range_says_why():
    reasons = ("no spread", "a choice", "fixed by the standard")
    for figure in SHIPPED.values():
        if figure.low == figure.high:
            assert any(reason in figure.condition for reason in reasons), figure.name


def test_two_users_do_not_share_what_was_used():
    first, second = load_components(), load_components()
    first.value("radio.rampup", "us")
    assert second.used() == () and first.moved({}).used() == ()


def test_a_figure_is_given_in_the_unit_that_is_needed_and_can_be_moved():
    components = load_components()
    assert components.value("radio.nrf52840.transmit", "uW") == pytest.approx(19_200)
    draws = np.array([1.0, 2.0])
    moved = components.moved({"radio.nrf52840.transmit": draws})
    np.testing.assert_allclose(moved.value("radio.nrf52840.transmit", "uW"), [1000.0, 2000.0])
    assert components.value("radio.nrf52840.transmit", "mW") == 19.2


def test_a_choice_is_never_moved_and_may_have_no_range():
    components = load_components()
    assert components.moved({"radio.ble.interval": 1.0}).fixed("radio.ble.interval", "s") == pytest.approx(7.5e-3)
    with pytest.raises(UserError, match=r"'radio\.rampup' has a range, 40 to 140: it is a choice"):
        components.fixed("radio.rampup", "us")


CURRENT = re.compile(r"([\d.]+) (u|m)A\b.*? at ([\d.]+) V")


def test_figures_that_are_a_current_times_a_voltage():
    """Of all whose condition names both: uA * V is uW, mA * V is mW. What costs energy a cycle divides it by the clock."""
    seen = set()
    for name, figure in SHIPPED.items():
        found = CURRENT.search(figure.condition)
        if found and figure.unit in ("uW", "mW"):
            named = float(found[1]) * float(found[3]) * (1.0 if figure.unit == f"{found[2]}W" else 1e3 if found[2] == "m" else 1e-3)
            if name not in ("mcu.stm32l4r5.sleep-dma", "radio.nrf52840.processor", "mcu.nrf54l15.sleep"):  # differences, and per MHz
                assert figure.value == pytest.approx(named, rel=0.02), name
                seen.add(name)
    assert seen >= {"mcu.stm32l4r5.sleep", "mcu.stm32u575.sleep", "mcu.stm32u385.sleep", "mcu.cc2340r5.sleep", "radio.nrf52840.transmit"}
    assert SHIPPED["radio.nrf52840.processor"].value == pytest.approx((8.1 - 6.4) * 3)
    assert SHIPPED["radio.nrf52840.processor"].high == pytest.approx((8.6 - 6.26) * 3, rel=0.01)


@pytest.mark.parametrize(
    ("name", "milliwatts", "megahertz"),
    [
        ("mcu.stm32l4r5", (33.36, 33.36), 120),
        ("mcu.stm32u575", (23.1, 24.2), 160),
        ("mcu.stm32u385", (5.09, 5.90), 96),
        ("mcu.stm32h7a3", (121.8, 135.5), 280),
        ("mcu.nrf54l15", (2.6 * 3, 2.6 * 3), 128),
        ("mcu.cc2340r5", (2.6 * 3, 2.6 * 3), 48),
        ("mcu.efr32mg24", (8.7, 11.0), 78),
    ],
)
def test_energy_a_cycle_is_power_over_clock(name, milliwatts, megahertz):
    low, high = (1e3 * power / megahertz for power in milliwatts)
    figure = SHIPPED[f"{name}.active"]
    assert low * 0.985 <= figure.value <= high * 1.015
    assert figure.low <= low * 1.01 and figure.high >= high * 0.99


def test_figures_that_are_a_sum():
    figures = load_components()
    assert figures.value("radio.ble-1m.overhead", "bytes/packet") == 1 + 4 + 2 + 4 + 3 + 4 + 3  # as the condition lists them
    assert figures.value("radio.ble-2m.overhead", "bytes/packet") == 2 + 4 + 2 + 4 + 3 + 4 + 3
    assert figures.value("radio.ble-1m.poll", "bytes/packet") == 1 + 4 + 2 + 3
    assert figures.value("radio.ble.payload", "bytes/packet") == 251 - 4 - 3
    to_enter = {"cortex-m0plus": 15, "cortex-m4": 12, "cortex-m7": 12, "cortex-m33": 12, "cortex-m55": 12}  # as Arm says
    for core, cycles in to_enter.items():
        assert figures.value(f"mcu.{core}.interrupt", "cycles") == 2 * cycles  # and as much to return
    active = [figures.value(f"mcu.{part}.active", "pJ/cycle") for part in ("stm32h7a3", "stm32l4r5", "stm32u575", "stm32u385")]
    assert active == sorted(active, reverse=True)  # fast and old parts take more than slow and new ones


def test_a_file_of_ones_own_goes_before_the_library(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('format = "realm-edge components/1"\n' + GOOD + GOOD.replace("mcu.x.active", "mcu.ibex-soc.active"))
    mine = load_components(path)
    assert mine.value("mcu.x.active", "pJ/cycle") == mine.value("mcu.ibex-soc.active", "pJ/cycle") == 2.5
    assert mine.value("radio.nrf52840.transmit", "mW") == 19.2
    assert load_components().value("mcu.ibex-soc.active", "pJ/cycle") == 30
    path.write_text(GOOD.replace("mcu.x.active", "mcu.ibex-soc.active").replace("pJ/cycle", "mW"))
    with pytest.raises(UserError, match=r"mine\.toml: 'mcu\.ibex-soc\.active': a figure in 'mW', where 'pJ/cycle' is needed"):
        load_components(path)
    with pytest.raises(UserError, match="no such file"):
        load_components(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('unit = "pJ/cycle"', 'unit = "furlong"'), r"'mcu\.x\.active' has unit 'furlong'"),
        (('confidence = "primary"', 'confidence = "sure"'), "has confidence 'sure'"),
        (('source = "a data sheet"', 'source = ""'), "has no source"),
        (('condition = "at 3 V"\n', ""), "needs exactly value, low, high, unit, condition, source, confidence: look at condition"),
        (("high = 3.0\n", ""), "look at high"),
        (("high = 3.0\n", "high = 3.0\nmoves = 1\n"), "look at moves"),
        (("value = 2.5", "value = -1"), "has value -1"),
        (("value = 2.5", "value = nan"), "has value nan"),
        (("value = 2.5", "value = 1e31"), r"has value 1e\+31: .* from 1e-30 to 1e\+30"),
        (("value = 2.5", 'value = "2.5"'), "has value '2.5'"),
        (("low = 2", "low = 0"), "has low 0"),
        (("value = 2.5", "value = 3.5"), "has value 3.5, which does not lie in its range, 2 to 3"),
        (("high = 3.0", "high = 2.25"), "does not lie in its range, 2 to 2.25"),
        (("[mcu.x.active]", "[mcu.x.active"), "not readable as TOML"),
        ((GOOD, ""), "holds no figure"),
        ((GOOD, "x = 1"), "'x' is not a table of figures"),
    ],
)
def test_broken_entries_are_named(change, message):
    with pytest.raises(UserError, match=r"^lib\.toml: .*" + message):
        parse_components(GOOD.replace(*change), "lib.toml")


def test_an_unknown_figure_or_unit_is_refused():
    components = load_components()
    with pytest.raises(UserError, match=r"no figure 'mcu\.z80\.active'"):
        components.value("mcu.z80.active", "pJ/cycle")
    with pytest.raises(UserError, match=r"'sensing\.amplifier-lfp': a figure in 'uW/channel', where 'uW' is needed"):
        components.value("sensing.amplifier-lfp", "uW")
    assert components.used() == ()
