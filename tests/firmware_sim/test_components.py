import re
from importlib.resources import files

import pytest

from firmware_sim.components import CONFIDENCES, load_components, parse_components
from realm_edge.errors import UserError

GOOD = '[mcu.x]\nvalue = 2.5\nunit = "pJ/cycle"\ncondition = "at 3 V"\nsource = "a data sheet"\nconfidence = "primary"\n'


def test_the_shipped_library_is_valid_and_remembers_what_was_used():
    components = load_components()
    assert components.used() == ()
    assert components.value("sensing.amplifier", "uW/channel") == 0.81
    assert components.value("mcu.ibex-soc.active", "pJ/cycle") > 0
    assert [figure.name for figure in components.used()] == ["mcu.ibex-soc.active", "sensing.amplifier"]
    # No silicon figure for Ibex exists: it must be shown as unverified; the amplifier's is from an abstract.
    assert components.unverified() == [line for line in components.unverified() if line.startswith("mcu.ibex-soc.active: ")]
    assert len(components.unverified()) == 1


def test_two_users_do_not_share_what_was_used():
    first, second = load_components(), load_components()
    first.value("radio.rate", "Mb/s")
    assert second.used() == ()


def test_figures_that_are_known_from_the_sources():
    components = load_components()
    assert components.value("mcu.stm32l4r5.active", "pJ/cycle") == 278
    # nRF52840: 8.1 mA at 3 V and 1 Mb/s are the 24 nJ/bit of the research notes
    nj_per_bit = components.value("radio.transmit", "mW") / components.value("radio.rate", "Mb/s")
    assert nj_per_bit == pytest.approx(8.1 * 3.0)
    assert all(figure.confidence in CONFIDENCES for figure in components.used())


CURRENT = re.compile(r"([\d.]+) (u|m)A\b.*? at ([\d.]+) V")


def test_figures_that_are_a_current_times_a_voltage():
    """Of all whose condition names both: uA * V is uW, mA * V is mW."""
    figures = parse_components(files("firmware_sim").joinpath("data/components.toml").read_text(encoding="utf-8"), "shipped")
    named = {name: CURRENT.search(figure.condition) for name, figure in figures.items()}
    known = {name: float(found[1]) * float(found[3]) for name, found in named.items() if found}
    assert set(known) >= {"mcu.stm32u575.sleep", "mcu.stm32u385.sleep", "radio.transmit", "radio.idle"}
    for name, value in known.items():
        assert figures[name].value == pytest.approx(value, rel=0.01), name
        assert figures[name].unit == f"{named[name][2]}W"


def test_figures_that_are_a_sum():
    figures = load_components()
    assert figures.value("radio.overhead", "bytes/packet") == 1 + 4 + 2 + 3  # preamble, access address, header, check
    to_enter = {"cortex-m0plus": 15, "cortex-m4": 12, "cortex-m7": 12, "cortex-m33": 12, "cortex-m55": 12}  # as Arm says
    for core, cycles in to_enter.items():
        assert figures.value(f"mcu.{core}.interrupt", "cycles") == 2 * cycles  # and as much to return
    active = [figures.value(f"mcu.{part}.active", "pJ/cycle") for part in ("stm32h7a3", "stm32l4r5", "stm32u575", "stm32u385")]
    assert active == sorted(active, reverse=True)  # fast and old parts take more than slow and new ones


def test_a_library_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load_components(path).value("mcu.x", "pJ/cycle") == 2.5
    with pytest.raises(UserError, match="cannot be read"):
        load_components(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('unit = "pJ/cycle"', 'unit = "furlong"'), r"'mcu\.x' has unit 'furlong'"),
        (('confidence = "primary"', 'confidence = "sure"'), "has confidence 'sure'"),
        (('source = "a data sheet"', 'source = ""'), "has no source"),
        (('condition = "at 3 V"\n', ""), "needs exactly value, unit, condition, source, confidence"),
        (("value = 2.5", "value = -1"), "has value -1"),
        (("value = 2.5", "value = nan"), "has value nan"),
        (("value = 2.5", 'value = "2.5"'), "has value '2.5'"),
        (("[mcu.x]", "[mcu.x"), "not readable as TOML"),
    ],
)
def test_broken_entries_are_named(change, message):
    with pytest.raises(UserError, match=r"^lib\.toml: .*" + message):
        parse_components(GOOD.replace(*change), "lib.toml")


def test_an_unknown_figure_or_unit_is_refused():
    components = load_components()
    with pytest.raises(UserError, match=r"no figure 'mcu\.z80\.active'"):
        components.value("mcu.z80.active", "pJ/cycle")
    with pytest.raises(UserError, match=r"'sensing\.amplifier' is in uW/channel, uW is needed"):
        components.value("sensing.amplifier", "uW")
    assert components.used() == ()
