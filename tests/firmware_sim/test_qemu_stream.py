"""The tiny model's firmware in QEMU against its numpy mirror, to the bit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from firmware_sim import qemu
from firmware_sim.budgets import load_budgets
from firmware_sim.build import build_firmware
from firmware_sim.bundle import load_bundle
from firmware_sim.compare import Expected
from firmware_sim.components import load_components
from firmware_sim.implant import PARTS
from firmware_sim.simulate import simulate_stream
from firmware_sim.stream_report import stream_report
from firmware_sim.targets import get_target
from firmware_sim.workload import Delays, Sensed
from quantization.summaries import R2
from realm_edge.documents import jsonable
from realm_edge.errors import UserError

STEPS = 60


def expected_of(answer, with_frontend):
    return Expected(answer.outputs, dict(answer.states), answer.features if with_frontend else None)


@pytest.mark.parametrize("with_frontend", [True, False], ids=["frontend", "counts"])
def test_the_firmware_equals_the_mirror_to_the_bit(target, with_frontend, tiny, tmp_path):
    write_bundle, mirror = tiny
    bundle, answer = write_bundle(tmp_path / "bundle", target.name, with_frontend), mirror(STEPS, with_frontend)
    result = simulate_stream(bundle, target, answer.samples, expected_of(answer, with_frontend), tmp_path / "sim")
    assert result.mismatch is None
    assert result.bit_exact
    assert result.steps == STEPS
    assert result.regions["decoder"].visits.count == STEPS
    if with_frontend:
        front = result.regions["frontend"]
        assert front.visits.count == STEPS  # five ticks are one block
        assert front.visits.p50.cycles == pytest.approx(front.cycles.cycles, rel=1e-3)
    else:
        assert result.regions["frontend"].cycles.cycles == 0
    assert result.macs_per_step == 6
    rows = {row.symbol: row for row in result.kernels}
    assert rows["realm_decoder_k00_linear"].cycles > 6
    # Every cycle of the regions is attributed to a row.
    assert sum(row.cycles for row in result.kernels) == pytest.approx(result.cycles_per_step.cycles)
    cycles = result.cycles_per_step
    assert cycles.low <= cycles.cycles <= cycles.high
    assert (cycles.low < cycles.high) == (target.name == "cortex-m4")  # Ibex has no range
    stalls = result.regions["decoder"].stalls.cycles
    assert (stalls > 0) == (target.flash.wait_states > 0)
    assert rows["realm_decoder_k00_linear"].loaded_bytes >= 6  # six weights of a byte each
    assert 0 < result.stack_used < 512

    # One flipped bit of the reference, in an output, a feature or a state, is found where it is.
    wrong = answer.outputs.copy()
    wrong[17, 1] ^= 1
    folder = tmp_path / "sim2"
    found = simulate_stream(bundle, target, answer.samples, replace(expected_of(answer, with_frontend), outputs=wrong), folder).mismatch
    assert (found.tensor, found.step, found.index, found.expected ^ found.got) == ("output", 17, (1,), 1)
    states = dict(answer.states)
    states["state.block0.h"] = states["state.block0.h"].copy()
    states["state.block0.h"][9, 0] ^= 1 << 20
    found = simulate_stream(bundle, target, answer.samples, replace(expected_of(answer, with_frontend), states=states), folder).mismatch
    assert (found.tensor, found.step, found.index) == ("state.block0.h", 9, (0,))


STARTS = (0, 1, 2, 17, 40, 41, 59)  # a segment of one bin, two in a row, and the last bin


@pytest.mark.parametrize("with_frontend", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["frontend", "counts"])
def test_the_firmware_starts_anew_where_the_recording_paused(target, with_frontend, tiny, tmp_path):
    write_bundle, mirror = tiny
    bundle, answer = write_bundle(tmp_path / "bundle", target.name, with_frontend), mirror(STEPS, with_frontend, starts=STARTS)
    expected = expected_of(answer, with_frontend)
    result = simulate_stream(bundle, target, answer.samples, expected, tmp_path / "sim", starts=STARTS)
    assert result.mismatch is None and result.steps == STEPS
    reset = result.regions["reset"].visits
    assert reset.count == len(STARTS)
    assert reset.least_instructions == reset.most_instructions > 0  # every one clears the same blocks
    plain = simulate_stream(bundle, target, answer.samples, expected_of(mirror(STEPS, with_frontend), with_frontend), tmp_path / "sim")
    assert plain.mismatch is None and plain.regions["reset"].visits.count == 1
    for name in ("frontend", "decoder", "send"):  # what a reset costs is no part of the steps
        assert result.regions[name] == plain.regions[name]
    # A reset that is left out shows at once, in each of the runs without one of them.
    for left_out in STARTS[1:]:
        rest = tuple(start for start in STARTS if start != left_out)
        found = simulate_stream(bundle, target, answer.samples, expected, tmp_path / "sim", starts=rest).mismatch
        assert found is not None and found.step == left_out


@pytest.mark.parametrize("change", [{"weight": 7}, {"shift": 5}], ids=str)
def test_one_bit_of_a_weight_or_of_a_shift_is_found(change, tiny, tmp_path, target):
    write_bundle, mirror = tiny
    answer = mirror(STEPS, True)
    bundle = write_bundle(tmp_path / "bundle", target.name, True, **change)  # the mirror has 6 and 4: one bit
    result = simulate_stream(bundle, target, answer.samples, expected_of(answer, True), tmp_path / "sim")
    assert not result.bit_exact
    assert result.mismatch.tensor in ("output", "state.block0.h")


def test_the_build_is_the_same_to_the_byte(tiny, tmp_path, target):
    write_bundle, _ = tiny
    bundle = load_bundle(write_bundle(tmp_path / "bundle", target.name, True))
    first = build_firmware(bundle, target, tmp_path / "a").read_bytes()
    second = build_firmware(bundle, target, tmp_path / "another folder").read_bytes()
    assert first == second
    assert str(tmp_path).encode() not in first


def report_of(target, tiny, tmp_path, **changes):
    write_bundle, mirror = tiny
    answer = mirror(STEPS, True)
    bundle = write_bundle(tmp_path / "bundle", target.name, True)
    result = simulate_stream(bundle, target, answer.samples, expected_of(answer, True), tmp_path / "sim")
    result = replace(result, target=replace(target, **changes))
    return jsonable(
        stream_report(result, load_budgets(), load_components(), R2(float=0.61, int8=0.609, wiener=0.5), Sensed(250.0, 100.0), Delays())
    )


def test_the_report_holds_what_must_be_shown(target, tiny, tmp_path):
    report = report_of(target, tiny, tmp_path)
    json.dumps(report, allow_nan=False)
    assert report["bit_exact"] is True
    assert report["steps"] == STEPS
    assert report["reset"].pop("cycles") > 0 and report["reset"].pop("cycles_range")[0] > 0
    assert report["reset"] == {"count": 0, "warm_up_bins": 25, "warm_up_ms": 500.0}
    assert report["macs_per_step"] == 6
    assert report["cycles_per_mac"] == pytest.approx(report["regions"]["decoder"]["cycles"] / 6)
    assert report["state_bytes"] == 36
    assert report["flash_bytes"] > 500
    # .bss, 8 KiB of stack, and the ADC's ring: 5 ticks per bin are one block, so two blocks of 3 channels
    assert report["memory"]["adc_buffer_bytes"] == 2 * 5 * 3 * 2
    assert report["ram_bytes"] == sum(report["memory"]["sections"][n] for n in (".ram_text", ".data", ".bss", ".stack")) + 60
    power = report["power_uw"]
    assert set(power) == {*PARTS, "total"}
    assert power["total"] == pytest.approx(sum(v for k, v in power.items() if k != "total"))
    assert report["bandwidth_bps"]["decoded"] == 2 * 16 * 50
    assert report["bandwidth_bps"]["raw"] == 3 * 12 * 250
    assert report["latency_ms"]["total"] > 20.0
    assert report["r2"] == {"float": 0.61, "int8": 0.609, "wiener": 0.5}
    assert {row["name"] for row in report["budgets"]} == {
        "power_uw", "bandwidth_bps", "latency_ms", "flash_bytes", "ram_bytes", "r2", "r2_loss",
    }  # fmt: skip
    assert all(row["ok"] for row in report["budgets"])
    assert any(line.startswith("radio.ble.sends") for line in report["unverified"])


def test_a_clock_that_is_too_slow_gives_no_power_figure(tiny, tmp_path):
    target = get_target("rv32imc")
    report = report_of(target, tiny, tmp_path, clock_hz=10_000)
    assert report["power_uw"]["total"] is None
    assert "does not fit: needs a clock of" in report["fit_text"]
    row = next(row for row in report["budgets"] if row["name"] == "power_uw")
    assert (row["ok"], row["value"], row["by_how_much"]) == (False, None, None)
    assert row["lever"] == report["fit_text"]


def test_wrong_inputs_are_named(tiny, tmp_path):
    write_bundle, mirror = tiny
    target, answer = get_target("cortex-m4"), mirror(3, True)
    expected = expected_of(answer, True)
    bundle = write_bundle(tmp_path / "bundle", target.name, True)

    def simulate(target=target, samples=answer.samples, expected=expected):
        return simulate_stream(bundle, target, samples, expected, tmp_path / "sim")

    with pytest.raises(UserError, match=r"does not fit STM32L4R5 .* bytes of flash, it has 300"):
        simulate(target=replace(target, flash_bytes=300))
    with pytest.raises(UserError, match=r"does not fit STM32L4R5 .* bytes of RAM, it has 8192"):
        simulate(target=replace(target, ram_bytes=8192))
    smaller_machine = replace(target.machine, flash_length=1024)
    with pytest.raises(UserError, match=r"bundle: does not fit STM32L4R5 .* at least \d+ bytes of flash, it has 300"):
        simulate(target=replace(target, machine=smaller_machine, flash_bytes=300))
    with pytest.raises(UserError, match=r"samples are float64\(15, 3\)"):
        simulate(samples=answer.samples.astype(float))
    with pytest.raises(UserError, match="a multiple of 5, 3"):
        simulate(samples=answer.samples[:-1])
    with pytest.raises(UserError, match="no samples to simulate"):
        simulate(samples=answer.samples[:0])
    with pytest.raises(UserError, match="was compiled for 'cortex-m4', not for 'rv32imc'"):
        simulate(target=get_target("rv32imc"))
    with pytest.raises(UserError, match=r"tensor 'state\.phase' is missing in the reference"):
        simulate(expected=replace(expected, states={k: v for k, v in expected.states.items() if k != "state.phase"}))
    with pytest.raises(UserError, match=r"tensor 'output' is int16\(2,\) in the bundle and int16\(1,\)"):
        simulate(expected=replace(expected, outputs=expected.outputs[:, :1]))


def test_a_reference_of_another_length_is_a_mismatch(tiny, tmp_path, target):
    write_bundle, mirror = tiny
    bundle, answer = write_bundle(tmp_path / "bundle", target.name, True), mirror(4, True)
    result = simulate_stream(bundle, target, answer.samples[:-5], expected_of(answer, True), tmp_path / "sim")
    assert (result.mismatch.tensor, result.mismatch.expected, result.mismatch.got) == ("bins", 4, 3)


def test_broken_bundles_are_refused(tiny, tmp_path):
    write_bundle, _ = tiny
    folder = write_bundle(tmp_path / "bundle", "cortex-m4", True)
    target, metadata = get_target("cortex-m4"), json.loads((folder / "metadata.json").read_text())
    with pytest.raises(UserError, match="no such file"):
        load_bundle(tmp_path)

    def change(edit):
        values = json.loads(json.dumps(metadata))
        edit(values)
        (folder / "metadata.json").write_text(json.dumps(values))
        return load_bundle(folder)

    with pytest.raises(UserError, match=r"metadata\.json: decoder\.rate_hz: Field required: rerun 'realm-edge compile'"):
        change(lambda v: v["decoder"].pop("rate_hz"))
    with pytest.raises(UserError, match=r"metadata\.json: decoder\.states\.0\.shape\.0: Input should be less than or equal to"):
        change(lambda v: v["decoder"]["states"][0].update(shape=[2**40]))
    with pytest.raises(UserError, match=r"metadata\.json: of realm-edge bundle/9, not 'realm-edge bundle/3': rerun 'realm-edge compile'"):
        change(lambda v: v.update(format="realm-edge bundle/9"))
    with pytest.raises(UserError, match=r"metadata\.json: of an earlier version, not 'realm-edge bundle/3'"):
        change(lambda v: v.pop("format"))
    with pytest.raises(UserError, match=r"state 'state\.block0\.h' lies outside the 8 bytes"):
        change(lambda v: v["decoder"]["states"][0].update(offset=4))
    with pytest.raises(UserError, match=r"'state\.block0\.h' is listed twice"):
        change(lambda v: v["frontend"]["states"][0].update(name="state.block0.h"))
    with pytest.raises(UserError, match="no multiple of"):
        change(lambda v: v["frontend"].update(rate_hz=240))
    with pytest.raises(UserError, match="'realm_decoder_k00_linear' was linked but is not listed"):
        build_firmware(change(lambda v: v["decoder"].update(kernels=[])), target, tmp_path / "build")
    # A kernel that the driver brings along instead of TVM.
    kernels = (folder / "realm_decoder_kernels.c").read_text().replace("void realm", "__attribute__((noinline)) void realm")
    (folder / "src/realm_decoder.c").write_text((folder / "src/realm_decoder.c").read_text() + kernels)
    (folder / "lib/realm_decoder_kernels.o").unlink()
    with pytest.raises(UserError, match=r"'realm_decoder_k00_linear' comes from realm_decoder\.o, not from an object that TVM built"):
        build_firmware(change(lambda v: None), target, tmp_path / "build")
    (folder / "src/realm_decoder.c").write_text("int half a driver")
    with pytest.raises(UserError, match=r"'python -m ziglang cc' failed: realm_decoder\.c:1:9: error"):
        build_firmware(load_bundle(folder), target, tmp_path / "build")
    for path in (folder / "lib").glob("*.o"):
        path.unlink()
    with pytest.raises(UserError, match="holds no object file"):
        build_firmware(load_bundle(folder), target, tmp_path / "build")


def test_a_run_that_does_not_end_is_stopped(tiny, tmp_path, target):
    write_bundle, mirror = tiny
    folder = write_bundle(tmp_path / "bundle", target.name, False)
    driver = folder / "src/realm_decoder.c"
    driver.write_text(driver.read_text().replace("(void)scratch;", "(void)scratch; for (volatile int i = 1; i;) {}"))
    answer = mirror(2, False)
    elf = build_firmware(load_bundle(folder), target, tmp_path / "build")
    with pytest.raises(UserError, match="still running in qemu-system-"):
        qemu.run_firmware(elf, target, answer.samples, tmp_path / "run", timeout_s=1.0)


def test_instructions_that_ibex_lacks_fault(tiny, tmp_path):
    write_bundle, mirror = tiny
    folder, target = write_bundle(tmp_path / "bundle", "rv32imc", False), get_target("rv32imc")
    driver = folder / "src/realm_decoder.c"
    atomic = '(void)scratch; __asm__ volatile(".option arch, +a\\n amoadd.w x0, x0, (%0)" ::"r"(state) : "memory");'
    driver.write_text(driver.read_text().replace("(void)scratch;", atomic))
    elf = build_firmware(load_bundle(folder), target, tmp_path / "build")
    with pytest.raises(UserError, match="the firmware met a processor fault"):
        qemu.run_firmware(elf, target, mirror(2, False).samples, tmp_path / "run", timeout_s=20.0)


def test_a_processor_fault_is_reported(tiny, tmp_path, target):
    write_bundle, mirror = tiny
    folder = write_bundle(tmp_path / "bundle", target.name, False)
    driver = folder / "src/realm_decoder.c"
    driver.write_text(driver.read_text().replace("(void)scratch;", "(void)scratch; *(volatile int *)0xF0000000u = 1;"))
    elf = build_firmware(load_bundle(folder), target, tmp_path / "build")
    with pytest.raises(UserError, match="the firmware met a processor fault"):
        qemu.run_firmware(elf, target, mirror(2, False).samples, tmp_path / "run", timeout_s=20.0)


def test_samples_reach_the_firmware_unchanged_at_the_rails(tiny, tmp_path, target):
    """Extreme counts: the mirror's arithmetic has room for them, so has the firmware's."""
    write_bundle, mirror = tiny
    bundle, answer = write_bundle(tmp_path / "bundle", target.name, False), mirror(1, False)
    samples = np.array([[-32768, 32767, -32768]], np.int16)
    h = np.array([[3, -5, 7], [-2, 4, 6]], np.int32) @ samples[0].astype(np.int32)
    expected = Expected((h >> 4).astype(np.int16)[None], {"state.block0.h": h[None].astype(np.int32)})
    assert answer.outputs.shape == expected.outputs.shape
    assert simulate_stream(bundle, target, samples, expected, tmp_path / "sim").mismatch is None
