import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from export.stepgraph import save_model
from firmware_sim.build import TooLarge
from firmware_sim.compare import Mismatch
from firmware_sim.targets import get_target
from firmware_sim.verdict.counts import COUNTS, Counts
from quantization.golden import Golden, run_decoder, run_frontend
from realm_edge.app import artefacts
from realm_edge.app.verdict import probe
from realm_edge.app.verdict.probe import count, count_run
from realm_edge.app.verdict.untrained import noise, untrained
from realm_edge.documents import read_document, write_document
from realm_edge.errors import UserError
from realm_edge.frontend import averaging_s, filter_delay_s
from realm_edge.progress import Silent
from realm_edge.settings import changed, preset
from realm_edge.streams import LFP
from tests.made_up import MadeUpRun

TARGET, CHANNELS, OUTPUTS = "cortex-m4", 8, 2
TINY = changed(
    preset("demo"),
    {"output_delay_ms": 40, "student": {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 4}, "lfp": {"bands_hz": [[15.0, 35.0]]}},
)


@pytest.fixture(autouse=True)
def _emulator():
    emulator = get_target(TARGET).machine.emulator
    if shutil.which(emulator) is None:
        pytest.skip(f"{emulator} is not installed: apt-get install qemu-system-arm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where counts are kept, for all tests of the module."""
    return tmp_path_factory.mktemp("counts")


@pytest.fixture(scope="module")
def counted(folder) -> Counts:
    return count("lfp", CHANNELS, True, TARGET, TINY, OUTPUTS, folder, Silent())


def nothing_runs(monkeypatch) -> None:
    def run(*_, **__):
        raise AssertionError("it was run again")

    monkeypatch.setattr(probe, "simulate_built", run)
    monkeypatch.setattr(probe, "untrained", run)


def test_a_second_of_noise_is_counted_bit_by_bit(counted):
    assert counted.fits
    assert counted.text == "1.0 s of noise, 50 bins, equal to onnxruntime"
    assert (counted.signal, counted.channels, counted.target, counted.frontend) == ("lfp", CHANNELS, TARGET, True)
    assert (counted.rate_hz, counted.bandwidth_hz, counted.features, counted.output_values) == (500, 35.0, 2 * CHANNELS, OUTPUTS)
    assert (counted.bin_s, counted.ticks_per_bin, counted.blocks_per_bin) == (0.02, 10, 1)
    assert counted.delay_s == pytest.approx(0.04 + filter_delay_s(TINY) + averaging_s(TINY))
    parts = [counted.frontend_cycles, counted.decoder_cycles, counted.send_cycles, counted.loop_cycles, counted.last_block_cycles]
    for low, nominal, high in parts:
        assert 0 < low <= nominal <= high
    assert counted.last_block_cycles == pytest.approx(counted.frontend_cycles)  # one block a bin
    assert counted.frontend_cycles[1] > counted.send_cycles[1]
    assert counted.ram_bytes < 20_000 < counted.flash_bytes


def test_what_was_counted_is_read_again(counted, folder, monkeypatch):
    nothing_runs(monkeypatch)
    assert count("lfp", CHANNELS, True, TARGET, TINY, OUTPUTS, folder, Silent()) == counted


def test_counts_that_say_less_than_they_must_are_refused_by_name(counted, tmp_path):
    path = tmp_path / "counts.json"
    for name in ("decoder_cycles", "ram_bytes"):
        write_document(path, COUNTS, counted.model_dump() | {name: None})
        with pytest.raises(UserError, match=f"counts.json: its content: firmware that fits has {name}: remove it"):
            read_document(path, COUNTS, Counts, "remove it, and it is counted again")


@pytest.mark.parametrize("change", ["channels", "front end", "student", "outputs", "part"])
def test_what_decides_is_counted_anew(counted, folder, monkeypatch, change):
    nothing_runs(monkeypatch)
    settings = changed(TINY, {"student": {"d_state": 8}}) if change == "student" else TINY
    if change == "part":
        monkeypatch.setattr(probe, "get_target", lambda name: replace(get_target(name), ram_bytes=1 << 20))
    channels, outputs = CHANNELS + (change == "channels"), OUTPUTS + (change == "outputs")
    with pytest.raises(AssertionError, match="run again"):
        count("lfp", channels, change != "front end", TARGET, settings, outputs, folder, Silent())


def test_what_a_training_is_like_decides_nothing(counted, folder, monkeypatch):
    nothing_runs(monkeypatch)
    longer = changed(TINY, {"distil": {"epochs": 999}, "synthetic": {"seconds": 60.0}, "spike": {"threshold_sd": 3.0}})
    assert count("lfp", CHANNELS, True, TARGET, longer, OUTPUTS, folder, Silent()) == counted


@pytest.mark.slow
def test_behind_a_circuit_the_same_decoder_reads_features(counted, folder):
    alone = count("lfp", CHANNELS, False, TARGET, TINY, OUTPUTS, folder, Silent())
    assert alone.fits and not alone.frontend
    assert (alone.channels, alone.features, alone.ticks_per_bin, alone.blocks_per_bin) == (CHANNELS, 2 * CHANNELS, 1, 1)
    assert (alone.rate_hz, alone.bandwidth_hz, alone.delay_s) == (counted.rate_hz, counted.bandwidth_hz, counted.delay_s)
    assert alone.frontend_cycles == alone.last_block_cycles == (0, 0, 0)
    assert alone.decoder_cycles[1] == pytest.approx(counted.decoder_cycles[1], rel=0.05)
    assert alone.flash_bytes < counted.flash_bytes


def test_a_clock_that_is_too_slow_is_told_with_the_cycles(counted, folder, monkeypatch):
    needed = sum(ends[1] for ends in (counted.frontend_cycles, counted.decoder_cycles, counted.send_cycles, counted.loop_cycles)) / 0.02
    monkeypatch.setattr(probe, "get_target", lambda name: replace(get_target(name), clock_hz=round(needed) - 1))
    found = count("lfp", CHANNELS, True, TARGET, TINY, OUTPUTS, folder, Silent())
    assert not found.fits
    clock = f"does not fit: needs a clock of {needed / 1e6:.1f} MHz, STM32L4R5 has {needed / 1e6:.0f} MHz"
    assert found.text == f"{clock}; 1.0 s of noise, 50 bins, equal to onnxruntime"
    assert found.model_copy(update={"fits": True, "text": counted.text}) == counted


@pytest.mark.slow
def test_memory_that_is_too_small_is_told_without_cycles(folder, monkeypatch):
    nothing = pytest.fail
    monkeypatch.setattr(probe, "simulate_built", nothing)
    found = count("lfp", 32, True, "mspm0l1306", TINY, OUTPUTS, folder, Silent())
    assert not found.fits
    assert found.text == f"does not fit: needs {found.ram_bytes} bytes of RAM with the ADC's buffer, MSPM0L1306 has 4096"
    assert found.ram_bytes > 4096 and 0 < found.flash_bytes < 65536
    for name in Counts.model_fields:
        assert not name.endswith("_cycles") or getattr(found, name) is None


@pytest.mark.parametrize(("flash", "ram", "short"), [(100, 50, ""), (101, 51, "101 bytes of flash"), (100, 51, "51 bytes of RAM")])
def test_memory_is_held_against_the_parts(flash, ram, short):
    part = replace(get_target(TARGET), flash_bytes=100, ram_bytes=50)
    assert (short in probe._too_small(part, flash, ram)) if short else probe._too_small(part, flash, ram) == ""


def test_what_the_simulated_machine_cannot_hold_is_told_too(tmp_path, monkeypatch):
    def too_large(bundle, target, folder):
        raise TooLarge(bundle, target, "ram", "at least 20000000")

    monkeypatch.setattr(probe, "build", too_large)
    found = count("lfp", CHANNELS, True, TARGET, TINY, OUTPUTS, tmp_path, Silent())
    assert not found.fits and found.flash_bytes is None and found.ram_bytes is None and found.decoder_cycles is None
    assert found.text == "does not fit: needs at least 20000000 bytes of RAM, STM32L4R5 has 655360"
    assert (found.features, found.ticks_per_bin, found.bin_s) == (2 * CHANNELS, 10, 0.02)


def test_a_bit_that_differs_is_an_error_that_names_both(counted, tmp_path, monkeypatch):
    seen = []

    def differing(built, *_, **__):
        seen.append(built.memory.ram)
        return SimpleNamespace(mismatch=Mismatch("state.bins.total", 3, (4, 0), 17, -5))

    monkeypatch.setattr(probe, "simulate_built", differing)
    words = r"lfp, 8 channels, on STM32L4R5: bin 3, state.bins.total\[4, 0\]: the firmware has -5, onnxruntime 17"
    with pytest.raises(UserError, match=words):
        count("lfp", CHANNELS, True, TARGET, TINY, OUTPUTS, tmp_path, Silent())
    assert not list(tmp_path.iterdir())
    assert counted.ram_bytes == seen[0] + 2 * 10 * CHANNELS * 2  # a bin of samples and the block in flight, two bytes each


@pytest.fixture
def run(tmp_path) -> MadeUpRun:
    """With the untrained graphs in the place of trained ones, and the noise that they are run on for held-out samples."""
    heldout = {"heldout": True, "channels": CHANNELS, "resampling_delay_ms": 6.0, "spike_electrodes": None}
    run = MadeUpRun(tmp_path / "run", TINY, {"data": {"sessions": [{"heldout": False}, heldout]}})
    made = untrained("lfp", CHANNELS, TINY, OUTPUTS)
    samples = noise("lfp", 60 * made.ticks, CHANNELS)
    features, states = run_frontend(made.frontend, samples)
    decoded, decoder_states = run_decoder(made.decoder, features)
    Golden(0, 5, samples, features, decoded, states, decoder_states).save(artefacts.golden(run, LFP))
    save_model(made.frontend, artefacts.int8_frontend(run, LFP))
    save_model(made.decoder, artefacts.int8_decoder(run, LFP))
    artefacts.student(run, LFP).write_bytes(b"")
    return run


@pytest.mark.slow
def test_a_runs_own_graphs_are_counted_over_its_golden_samples(run, counted, tmp_path):
    found = count_run(run, "lfp", True, TARGET, tmp_path / "counts", Silent())
    assert run.required == ["quantize"]
    assert found.text == "1.0 s of the run's recording, 50 bins, equal to onnxruntime"
    assert found.delay_s == pytest.approx(counted.delay_s + 0.006)
    assert found.model_copy(update={"text": counted.text, "delay_s": counted.delay_s}) == counted
    alone = count_run(run, "lfp", False, TARGET, tmp_path / "counts", Silent())
    assert alone.frontend_cycles == (0, 0, 0)
    assert alone.decoder_cycles[1] == pytest.approx(counted.decoder_cycles[1], rel=0.05)


def test_what_a_run_lacks_is_told(run, tmp_path):
    with pytest.raises(UserError, match="it has no spike decoder"):
        count_run(run, "spike", True, TARGET, tmp_path, Silent())
    artefacts.int8_frontend(run, LFP).unlink()
    with pytest.raises(UserError, match="it has no lfp front end"):
        count_run(run, "lfp", True, TARGET, tmp_path, Silent())
    features = {"heldout": True, "channels": 0, "resampling_delay_ms": 0.0, "spike_electrodes": None}
    run.summaries = {"data": {"sessions": [features]}}
    with pytest.raises(UserError, match="do not say how many electrodes the lfp decoder needs"):
        count_run(run, "lfp", False, TARGET, tmp_path, Silent())


def test_golden_vectors_are_cut_to_a_second(run):
    golden = Golden.load(artefacts.golden(run, LFP))
    with_samples = probe._golden_vectors(artefacts.golden(run, LFP), True, TINY)
    np.testing.assert_array_equal(with_samples.samples, golden.samples[:500])
    np.testing.assert_array_equal(with_samples.expected.features, golden.features[:50])
    assert set(with_samples.expected.states) == {*golden.frontend_states, *golden.decoder_states}
    alone = probe._golden_vectors(artefacts.golden(run, LFP), False, TINY)
    np.testing.assert_array_equal(alone.samples, golden.features[:50])
    assert set(alone.expected.states) == set(golden.decoder_states) and alone.expected.features is None
    assert len(alone.expected.outputs) == 50 and all(len(values) == 50 for values in alone.expected.states.values())
    with pytest.raises(UserError, match="it holds 60 bins, less than 1 s"):
        probe._golden_vectors(artefacts.golden(run, LFP), True, changed(TINY, {"bin_ms": 10, "lfp": {"rate_hz": 500}}))


@pytest.mark.parametrize(("bin_ms", "bins"), [(20, 50), (30, 34), (10, 100), (1, 1000)])
def test_a_second_is_whole_bins(bin_ms, bins):
    assert probe._bins(changed(TINY, {"bin_ms": bin_ms, "output_delay_ms": 0, "lfp": {"rate_hz": 1000}})) == bins
