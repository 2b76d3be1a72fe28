"""A stream's report from made-up results: every figure is another number, and stands where it belongs."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from firmware_sim.attribution import FunctionCost, RegionCost, VisitCosts
from firmware_sim.budgets import Budget
from firmware_sim.bundle import Bundle
from firmware_sim.bundle_metadata import Kernel, Stage
from firmware_sim.compare import Mismatch
from firmware_sim.components import load_components
from firmware_sim.cores import load_core
from firmware_sim.elf import MemoryUse
from firmware_sim.implant import Timeline, run_timeline
from firmware_sim.profile import Region
from firmware_sim.ranges import range_of
from firmware_sim.simulate import KernelRow, RegionStep, StreamResult, Visits, _kernel_rows, _region, _regions, _visits, constants_of
from firmware_sim.stream_report import behind_detector, compared, ranged_case, stream_report, workload
from firmware_sim.targets import get_target
from firmware_sim.timing import ZERO, Cycles
from firmware_sim.workload import Delays, Sensed, buffer_bytes
from quantization.summaries import R2
from realm_edge.documents import jsonable

TARGET = get_target("cortex-m4")
TICKS, RATE = 20, 40.0  # a bin; bins per second
SECTIONS = {".vectors": 64, ".ram_text": 13_004, ".text": 22_001, ".rodata": 19_002, ".data": 17, ".bss": 8_003, ".stack": 8_192}


def visits(count: int, at: float) -> Visits:
    return Visits(
        count, int(at) + 1, int(at) + 2, Cycles(at, at - 3, at + 4), Cycles(at + 5, at + 2, at + 9), Cycles(at + 50, at + 6, at + 61)
    )


def region(cycles: float, instructions: float, seen: Visits | None, stalls: float, loaded: float) -> RegionStep:
    return RegionStep(Cycles(cycles, cycles * 0.9, cycles * 1.2), instructions, seen, Cycles(stalls, 0.0, 2 * stalls), loaded)


def kernel(stage: str, node: str, macs: int, base: float) -> KernelRow:
    return KernelRow(stage, f"realm_{node}", node, "QLinear", macs, base, base + 1, base + 2, base + 3, base + 4, base + 5)


KERNELS = (kernel("frontend", "bands.0", 0, 10), kernel("decoder", "tokenizer", 700, 20), kernel("decoder", "head", 34, 30))
REGIONS = {
    "frontend": region(90_000, 61_000, visits(600, 40_000), 1_500, 2_100),
    "decoder": region(310_000, 205_000, visits(600, 310_300), 4_200, 99_000),
    "send": region(610, 333, visits(600, 620), 71, 12),
    "reset": region(41, 27, visits(4, 2_500), 3, 5),
    "loop": region(820, 512, None, 93, 8),
}


def result(stream: str = "lfp", frontend: bool = True, **changes) -> StreamResult:
    front = Stage(prefix="realm_frontend", rate_hz=TICKS * RATE, state_bytes=641, scratch_bytes=257, weight_bytes=11)
    decoder = Stage(prefix="realm_decoder", rate_hz=RATE, state_bytes=3_203, scratch_bytes=1_511, weight_bytes=15_013)
    made = StreamResult(
        bundle=Bundle(Path("bundle"), stream, TARGET.name, front if frontend else None, decoder, 150),
        target=TARGET,
        core=load_core(TARGET.core),
        emulator="QEMU 7.2",
        steps=600,
        mismatch=None,
        regions=REGIONS,
        kernels=KERNELS,
        memory=MemoryUse(SECTIONS),
        stack_used=901,
        tick_values=31,
        output_values=3,
    )
    return dataclasses.replace(made, **changes)


LFP, SPIKES = Sensed(1_000.0, 200.0), Sensed(24_000.0, 6_000.0)
NONE, LATE = Delays(), Delays(output_delay=0.12, resampling=0.007, filters=0.0165, averaging=0.04)


def report(of: StreamResult, budgets=(), sensed: Sensed = LFP, delays: Delays = NONE):
    return jsonable(stream_report(of, list(budgets), load_components(), R2(float=0.71, int8=0.62, wiener=0.53), sensed, delays))


def test_the_workload_is_that_of_a_bin():
    work = workload(result(), LFP, LATE)
    assert work == dataclasses.replace(
        work, channels=31, sample_rate_hz=1_000.0, bandwidth_hz=200.0, ticks_per_bin=20, blocks_per_bin=1, bin_s=0.025,
        frontend_cycles=90_000.0,
        last_block_cycles=40_050.0,
        decoder_cycles=310_610.0, loop_cycles=820.0, output_bits=48, source="samples", delays=LATE,
    )  # fmt: skip


@pytest.mark.parametrize(("bound", "factor", "last"), [("low", 0.9, 40_006.0), ("high", 1.2, 40_061.0)])
def test_the_ends_of_the_range_are_those_of_every_part(bound, factor, last):
    work = workload(result(), LFP, Delays(), bound=bound)
    assert (work.frontend_cycles, work.decoder_cycles, work.loop_cycles) == pytest.approx((90_000 * factor, 310_610 * factor, 820 * factor))
    assert work.last_block_cycles == last


def test_without_a_front_end_there_is_one_tick_a_bin_and_none_of_it_costs():
    regions = REGIONS | {"frontend": RegionStep(ZERO, 0.0, None)}
    for stream, source in (("spike", "detector"), ("lfp", "features")):
        work = workload(result(stream, frontend=False, regions=regions), SPIKES, Delays())
        assert (work.source, work.ticks_per_bin, work.blocks_per_bin) == (source, 1, 1)
        assert work.frontend_cycles == work.last_block_cycles == 0.0


def test_every_figure_stands_where_it_belongs():
    found = report(result())
    assert {key: found[key] for key in ("stream", "target", "part", "emulator", "steps", "bit_exact", "mismatch", "frontend")} == {
        **{"stream": "lfp", "target": "cortex-m4", "part": "STM32L4R5", "emulator": "QEMU 7.2", "steps": 600},
        **{"bit_exact": True, "mismatch": None, "frontend": "run"},
    }
    core = load_core(TARGET.core)
    assert found["core"] == {"name": core.name, "label": core.label, "validation": core.validation, "source": core.source}
    assert found["flash"] == dataclasses.asdict(TARGET.flash)
    assert found["assumed"] == [f"line_bytes of STM32L4R5: {TARGET.flash.source}"]
    assert found["cycles_per_step"] == 400_000 and found["cycles_per_step_range"] == pytest.approx([360_000, 480_000])
    assert found["stall_cycles_per_step"] == 5_700
    assert found["macs_per_step"] == 734
    assert found["cycles_per_mac"] == pytest.approx(310_000 / 734)
    assert found["cycles_per_mac_range"] == pytest.approx([279_000 / 734, 372_000 / 734])
    assert found["instructions_per_mac"] == pytest.approx(205_000 / 734)
    assert found["loaded_bytes_per_mac"] == pytest.approx(99_000 / 734)
    assert found["kernels"] == [dataclasses.asdict(row) for row in KERNELS]
    assert found["state_bytes"] == 641 + 3_203
    assert found["r2"] == {"float": 0.71, "int8": 0.62, "wiener": 0.53}


def test_memory_is_that_of_the_firmware_and_of_the_ring():
    found = report(result())
    ring = 40 * 31 * 2  # a bin of 20 ticks, which is one block, and the one in flight
    assert found["flash_bytes"] == 64 + 13_004 + 22_001 + 19_002 + 17
    assert found["ram_bytes"] == 13_004 + 17 + 8_003 + 8_192 + ring
    assert found["memory"] == {
        "sections": SECTIONS,
        "adc_buffer_bytes": ring,
        "stack_used_bytes": 901,
        "scratch_bytes": 257 + 1_511,
        "weight_bytes": 11 + 15_013,
        "part_flash_bytes": 2_097_152,
        "part_ram_bytes": 655_360,
    }


def test_each_region_has_its_own_cycles_and_visits():
    found = report(result())["regions"]
    assert set(found) == set(REGIONS)
    assert found["decoder"] == {
        "cycles": 310_000,
        "cycles_low": 279_000,
        "cycles_high": 372_000,
        "stall_cycles": 4_200,
        "instructions": 205_000,
        "loaded_bytes": 99_000,
        "visits_per_step": 1.0,
        "least_instructions_of_a_visit": 310_301,
        "most_instructions_of_a_visit": 310_302,
        "p50_cycles_of_a_visit": 310_300,
        "p99_cycles_of_a_visit": 310_305,
        "longest_visit_cycles": 310_350,
        "longest_visit_cycles_high": 310_361,
    }
    assert found["frontend"]["visits_per_step"] == 1
    assert found["loop"]["cycles"] == 820 and found["loop"]["p99_cycles_of_a_visit"] is None
    assert report(result())["reset"] == {
        "count": 3,  # the first visit is the start
        "cycles": 2_550,
        "cycles_range": [2_506, 2_561],
        "warm_up_bins": 150,
        "warm_up_ms": 3_750.0,
    }


def test_power_and_latency_are_given_over_all_ranges():
    found = report(result(), delays=LATE)
    case = ranged_case(result(), LFP, LATE)
    assert [getattr(case.workload, bound) for bound in ("low", "nominal", "high")] == [
        workload(result(), LFP, LATE, bound=bound) for bound in ("low", "cycles", "high")
    ]
    assert case.ram_bytes == found["ram_bytes"]
    nominal, ends = run_timeline(case.nominal, load_components()), range_of(case, load_components())
    assert found["power_uw"] == nominal.power_uw and found["latency_ms"] == nominal.latency_ms
    assert (found["power_uw_range"], found["latency_ms_range"]) == (list(ends.power_uw), list(ends.latency_ms))
    for (low, high), value in ((ends.power_uw, nominal.power_uw["total"]), (ends.latency_ms, nominal.latency_ms["total"])):
        assert low < value < high
    late = {"output_delay": 120.0, "resampling": 7.0, "filters": 16.5, "averaging": 40.0}
    assert {name: found["latency_ms"][name] for name in late} == pytest.approx(late)
    assert {key: found[key] for key in Timeline.model_fields} == jsonable(nominal)
    assert len({found["required_clock_hz"], found["clock_hz"], found["wakeups_per_s"], found["duty_cycle"]}) == 4


def test_budgets_are_held_against_what_was_measured():
    names = ("power_uw", "bandwidth_bps", "latency_ms", "flash_bytes", "ram_bytes", "r2", "r2_loss")
    found = report(result(), [Budget(name, 1e9 if name != "r2" else 0.0, "test") for name in names])
    values = {row["name"]: row["value"] for row in found["budgets"]}
    assert values == {
        "power_uw": found["power_uw"]["total"],
        "bandwidth_bps": 48 * RATE,
        "latency_ms": found["latency_ms"]["total"],
        "flash_bytes": found["flash_bytes"],
        "ram_bytes": found["ram_bytes"],
        "r2": 0.62,
        "r2_loss": pytest.approx(0.09),
    }
    assert not any(row["decoder_only"] for row in found["budgets"])
    features = report(result(frontend=False, regions=REGIONS | {"frontend": RegionStep(ZERO, 0.0, None)}), [Budget("power_uw", 1e9, "t")])
    assert [row["decoder_only"] for row in features["budgets"]] == [True] and features["frontend"].startswith("not included")


def test_one_wrong_bit_is_told():
    found = report(result(mismatch=Mismatch("state.h", 17, (3, 1), 5, 6)))
    assert found["bit_exact"] is False
    assert found["mismatch"] == {"tensor": "state.h", "step": 17, "index": [3, 1], "expected": 5, "got": 6}


def test_spikes_are_priced_behind_a_detector_too():
    spikes = result("spike")
    found = report(spikes, sensed=SPIKES)
    detector = found["with_spike_detector"]
    case = behind_detector(spikes, ranged_case(spikes, SPIKES, NONE))
    work = case.workload.nominal
    assert (work.source, work.ticks_per_bin, work.blocks_per_bin) == ("detector", 1, 1)
    assert work.frontend_cycles == work.last_block_cycles == 0.0
    assert case.ram_bytes == MemoryUse(SECTIONS).ram + buffer_bytes(work)
    timeline = run_timeline(case.nominal, load_components())
    assert detector["power_uw"] == timeline.power_uw and detector["power_uw"]["total"] != found["power_uw"]["total"]
    assert any(row["name"] == "sensing.spike-detector" for row in found["components"])
    assert "with_spike_detector" not in report(result()) and "with_spike_detector" not in report(result("spike", frontend=False))
    json.dumps(found, allow_nan=False)


def test_lfp_is_compared_with_the_spikes_and_with_a_detector_where_that_is_a_question():
    lfp, spikes = ranged_case(result(), LFP, NONE), result("spike")
    found = compared(lfp, spikes, ranged_case(spikes, SPIKES, NONE), load_components())
    assert [one.against for one in found] == ["spikes", "spikes behind a detector circuit"]
    units = result("spike", frontend=False, regions=REGIONS | {"frontend": RegionStep(ZERO, 0.0, None)})
    known, unknown = (ranged_case(units, dataclasses.replace(SPIKES, spike_electrodes=n), NONE) for n in (96, None))
    assert [one.against for one in compared(lfp, units, known, load_components())] == ["spikes"]
    assert compared(lfp, units, unknown, load_components()) == ()


# --- simulate: from counted cycles to a step ----------------------------------------------------------------------------------------------


def test_percentiles_are_of_the_visits_by_nominal_cycles():
    rng = np.random.default_rng(0)
    nominal = rng.permutation(np.arange(1.0, 201.0))  # half of 200 do not exceed the 100th, 99 % the 198th
    low, high = nominal * 0.5, 1_000 - nominal  # ordered the other way round
    instructions = nominal * 3 + 7
    found = _visits(VisitCosts(np.stack([nominal, low, high], axis=1), instructions))
    assert found == Visits(200, 10, 607, Cycles(100, 50, 900), Cycles(198, 99, 802), Cycles(200, 100, 800))


def costs(cycles: float, visits: int, *functions: str) -> RegionCost:
    rows = {
        name: FunctionCost(
            int(cycles) + 10 * k, 3 * int(cycles) + k, Cycles(cycles + k, cycles - 1 - k, cycles + 2 + k), Cycles(6.0 * k, 0, 12.0 * k)
        )
        for k, name in enumerate(functions, start=1)
    }
    seen = VisitCosts(np.full((visits, 3), [4.0, 3.0, 5.0]), np.full(visits, 9.0))
    return RegionCost(Region("region", visits, 0), seen, functions=rows)


def test_a_step_is_a_share_of_the_run():
    found = _region(costs(600.0, 4, "a", "b"), 8)
    assert found.cycles == pytest.approx(Cycles(1_203 / 8, 1_195 / 8, 1_207 / 8))
    assert (found.instructions, found.loaded_bytes) == pytest.approx((1_230 / 8, 3_603 / 8))
    assert found.stalls == pytest.approx(Cycles(18 / 8, 0, 36 / 8))
    assert found.visits == Visits(4, 9, 9, *[Cycles(4, 3, 5)] * 3)
    assert _region(costs(600.0, 0, "a"), 8).visits is None


def test_the_loop_is_the_main_loops_own_functions_and_nothing_of_the_board():
    found = _regions({"outside": costs(80.0, 0, "main", "board_fetch", "decode"), "decoder": costs(40.0, 2, "k")}, 4)
    assert set(found) == {"decoder", "frontend", "loop"}
    assert found["loop"].cycles.cycles == pytest.approx((81 + 83) / 4)
    assert found["frontend"] == RegionStep(ZERO, 0.0, None)


def test_rows_are_of_a_step_and_what_works_at_a_bins_edge_counts_its_macs_once():
    nothing = {"state_bytes": 0, "scratch_bytes": 0, "weight_bytes": 0}
    listed = [("front_k", "bands.0", "Biquad", 3), ("dec_k", "head", "QLinear", 50), ("unused", "norm", "Norm", 2)]
    first, *others = (
        Kernel(symbol=s, node=n, op=op, macs=macs, code_bytes=0, constant_bytes=0, stack_bytes=0) for s, n, op, macs in listed
    )
    front = Stage(prefix="realm_frontend", rate_hz=TICKS * RATE, kernels=(first,), **nothing)
    decoder = Stage(prefix="realm_decoder", rate_hz=RATE, kernels=tuple(others), **nothing)
    bundle = Bundle(Path("bundle"), "lfp", "cortex-m4", front, decoder, 1)
    found = list(
        _kernel_rows(bundle, {"frontend": costs(80.0, 2, "front_k"), "decoder": costs(40.0, 2, "dec_k", "realm_decoder_step", "memset")}, 4)
    )
    assert [(row.stage, row.symbol, row.node, row.op, row.macs) for row in found] == [
        ("frontend", "front_k", "bands.0", "Biquad", 3),
        ("decoder", "dec_k", "head", "QLinear", 50),
        ("decoder", "unused", "norm", "Norm", 2),
        ("decoder", "memset", "", "helper", 0),
        ("decoder", "realm_decoder_step", "", "driver", 0),
    ]
    first = found[1]
    assert (first.instructions, first.cycles, first.cycles_low, first.cycles_high) == (50 / 4, 41 / 4, 38 / 4, 43 / 4)
    assert (first.stall_cycles, first.loaded_bytes) == (6 / 4, 121 / 4)
    assert found[2].cycles == 0


def test_nodes_that_share_a_function_take_equal_parts_of_it():
    nothing = {"state_bytes": 0, "scratch_bytes": 0, "weight_bytes": 0}
    listed = [("dec_k", "blocks.0", 50, 7), ("other", "norm", 2, 1), ("dec_k", "blocks.1", 50, 7)]
    nodes = tuple(
        Kernel(symbol=s, node=n, op="QLinear", macs=macs, code_bytes=0, constant_bytes=c, stack_bytes=0) for s, n, macs, c in listed
    )
    decoder = Stage(prefix="realm_decoder", rate_hz=RATE, kernels=nodes, **nothing)
    bundle = Bundle(Path("bundle"), "lfp", "cortex-m4", None, decoder, 1)
    rows = {row.node: row for row in _kernel_rows(bundle, {"decoder": costs(40.0, 2, "dec_k", "other")}, 4)}
    assert set(rows) == {"blocks.0", "norm", "blocks.1"}
    assert rows["blocks.0"].cycles == rows["blocks.1"].cycles == 41 / 8 and rows["norm"].cycles == 42 / 4
    assert rows["blocks.0"].macs == rows["blocks.1"].macs == 50
    assert constants_of(bundle) == {"dec_k": (7, 7), "other": (1,)}
