import pytest

from firmware_sim.compiler.kernels import FAMILIES
from firmware_sim.compiler.lower import machine_of
from firmware_sim.components import load_components
from firmware_sim.cores import load_core
from firmware_sim.decode import DECODERS
from firmware_sim.targets import get_target, targets
from realm_edge.errors import UserError


def test_the_two_targets_name_part_core_and_memory():
    m4, ibex = get_target("cortex-m4"), get_target("rv32imc")
    assert (m4.part, m4.clock_hz, m4.flash_bytes, m4.ram_bytes) == ("STM32L4R5", 120_000_000, 2 * 1024**2, 640 * 1024)
    assert ibex.core == "ibex-small"
    assert set(ibex.assumed) == {"clock_hz", "flash_bytes", "ram_bytes", "wait_states"}
    assert m4.assumed == ("line_bytes",)
    assert (m4.flash.wait_states, ibex.flash.wait_states) == (5, 0)


@pytest.mark.parametrize("name", list(targets()))
def test_every_target_has_a_core_table_a_decoder_and_priced_components(name):
    target = get_target(name)
    assert load_core(target.core).isa in DECODERS
    components = load_components()
    if target.components.active:
        assert components.value(target.components.active, "pJ/cycle") > 0
    if target.components.active_ldo:
        assert components.value(target.components.active_ldo, "pJ/cycle") > components.value(target.components.active, "pJ/cycle")
    if target.components.rail:
        assert 0 < components.value(target.components.rail, "V") < components.value("supply.battery", "V")
    for name in filter(None, (target.components.sleep, target.components.sleep_dma)):
        assert components.value(name, "uW") > 0
    assert components.value(target.components.wakeup, "us") > 0
    assert components.value(target.components.interrupt, "cycles") > 0
    assert target.machine.ram_length >= target.ram_bytes
    assert target.machine.flash_length >= target.flash_bytes
    machine = machine_of(target.build)
    assert machine.target().kind.name == "llvm" and machine.kernels in FAMILIES
    assert target.source and target.flash.source
    for field in target.assumed:
        assert hasattr(target, field) != hasattr(target.flash, field)


def test_parts_that_no_source_prices_have_no_power_figure():
    unpriced = {name for name, target in targets().items() if not (target.components.active and target.components.sleep)}
    assert unpriced == {
        *("stm32h7a3", "nrf52840", "nrf5340", "apollo3", "stm32g0b1", "cortex-m55"),
        *("mspm0g3507", "mspm0l1306"),  # of their deep sleep nothing was found
    }


@pytest.mark.parametrize("name", list(targets()))
def test_a_part_is_priced_by_its_own_figures_and_its_cores_interrupt(name):
    target = get_target(name)
    own = {"generic Ibex SoC": "ibex-soc"}.get(target.part, target.part.lower())
    for kind in ("rail", "active", "active_ldo", "sleep", "sleep_dma"):
        figure = getattr(target.components, kind)
        assert figure in (None, f"mcu.{own}.{kind.replace('_', '-')}")
    assert target.components.wakeup in (f"mcu.{own}.wakeup", "mcu.stop.wakeup")
    core = "ibex-soc" if target.core.startswith("ibex") else target.core
    assert target.components.interrupt == f"mcu.{core}.interrupt"
    if name != "rv32imc":
        assert target.build == target.core


MEMORIES = {  # as the sources say it, where it is more than a number and a unit
    ("stm32u575", "ram_bytes"): ((192 + 64 + 512) * 1024, "192, 64 and 512 KiB"),
    ("stm32u385", "ram_bytes"): ((192 + 64) * 1024, "192 and 64 KiB"),
    ("apollo3", "flash_bytes"): (2 * 512 * 1024, "two flash instances of 512 KiB"),
}


@pytest.mark.parametrize("name", [name for name, target in targets().items() if not target.part.startswith("generic")])
def test_clock_and_memories_are_those_that_the_source_names(name):
    target = get_target(name)
    source = " ".join(target.source.split())
    assert f"{target.clock_hz / 1e6:g} MHz" in source
    for field in ("flash_bytes", "ram_bytes"):
        value = getattr(target, field)
        expected, text = MEMORIES.get((name, field), (value, f"{value // 2**20} MiB" if value % 2**20 == 0 else f"{value // 1024} KiB"))
        assert value == expected and text in source
    flash = " ".join(target.flash.source.split())
    assert f"{target.flash.wait_states} wait states" in flash or f"wait states {target.flash.wait_states}" in flash


def test_each_cortex_m_has_a_target():
    assert {load_core(target.core).name for target in targets().values()} >= {f"cortex-m{n}" for n in ("0plus", "4", "7", "33", "55")}


def test_flash_of_each_part_is_as_its_source_says():
    # wait states, bytes a read brings, instruction cache, data cache: to change one is a decision that renews this pin and its source
    parts = {name: target.flash for name, target in targets().items() if target.core.startswith("cortex")}
    assert {name: (f.wait_states, f.line_bytes, f.instruction_cache_bytes, f.data_cache_bytes) for name, f in parts.items()} == {
        "cortex-m4": (5, 8, 1024, 256),
        "stm32u575": (4, 16, 8192, 0),
        "stm32u385": (2, 16, 8192, 0),
        "stm32h7a3": (6, 16, 16384, 16384),
        "nrf52840": (2, 16, 2048, 0),
        "nrf5340": (4, 16, 8192, 0),
        "apollo3": (1, 16, 16384, 0),
        "stm32g0b1": (2, 8, 16, 0),
        "cortex-m55": (0, 16, 0, 0),
        "nrf54l15": (4, 16, 8192, 0),
        "cc2340r5": (2, 8, 16, 0),
        "mspm0g3507": (2, 8, 32, 0),
        "mspm0l1306": (1, 8, 16, 0),
    }
    assert {name for name, flash in parts.items() if flash.unified} == {"stm32u575", "stm32u385", "nrf5340", "apollo3", "nrf54l15"}


def test_a_field_of_the_flash_has_the_source_of_the_flash():
    part = get_target("stm32g0b1")
    assert "RM0490" in part.source_of("instruction_cache_bytes")
    assert "512 KiB flash" in part.source_of("flash_bytes")


def test_an_unknown_target_lists_those_there_are():
    with pytest.raises(UserError, match="unknown target 'z80': use one of cortex-m4, rv32imc"):
        get_target("z80")
