"""The implant presets' students, untrained, as firmware: equal to onnxruntime to the bit on every part, and they fit its memory."""

import numpy as np
import pytest
import torch

from export.decoder_graph import decoder_graph
from export.frontend_graph import lfp_frontend_graph
from export.stepgraph import metadata, save_model
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.emulator import find_emulator
from firmware_sim.simulate import simulate_stream
from firmware_sim.targets import get_target
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.frontend import quantize_frontend
from quantization.golden import run_decoder, run_frontend
from realm_edge.app.preset_sizes import DIMS, preset_size
from realm_edge.errors import UserError
from realm_edge.frontend import design, lfp_features
from realm_edge.models.student import Student
from realm_edge.settings import preset

CALIBRATION_BINS, WARM_UP, BINS = 200, 50, 60
TOO_SLOW = {("implant-l", "rv32imc")}  # needs 106 % of the clock; README says so


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["implant-s", "implant-m", "implant-l"])
def test_the_student_of_a_preset_is_bit_exact_and_fits_the_memory(name, tmp_path):
    settings, size = preset(name), preset_size(preset(name))
    rng = np.random.default_rng(2)
    ticks = CALIBRATION_BINS * settings.lfp_samples_per_bin
    samples = (rng.normal(0, 15, (ticks, size.channels)).cumsum(axis=0) + rng.normal(0, 60, (ticks, size.channels))).astype(np.int16)
    float_frontend = design(settings, np.ones(size.channels, bool))
    features = lfp_features(float_frontend, samples)
    torch.manual_seed(0)
    student = Student(settings.student, size.features, DIMS).eval()
    student.feature_mean.copy_(torch.from_numpy(features[WARM_UP:].mean(axis=0)))
    student.feature_inv_std.copy_(torch.from_numpy(1 / features[WARM_UP:].std(axis=0)))

    frontend = quantize_frontend(lfp_frontend_graph(float_frontend, {}), features[WARM_UP:], {})
    float_decoder = decoder_graph(student, 1000 / settings.bin_ms, ("vx", "vy"), "cm/s", {})
    decoder = quantize_decoder(float_decoder, observe(float_decoder, features, WARM_UP), metadata(frontend)["io"]["features"]["scale"], {})
    for stage, model in (("frontend", frontend), ("decoder", decoder)):
        save_model(model, tmp_path / f"{stage}.onnx")
    samples = samples[: BINS * settings.lfp_samples_per_bin]
    int_features, frontend_states = run_frontend(frontend, samples)
    outputs, decoder_states = run_decoder(decoder, int_features)
    assert len(np.unique(outputs)) > BINS // 2  # an output that stands still would agree too easily
    expected = Expected(outputs, frontend_states | decoder_states, int_features)

    for target in ("cortex-m4", "stm32u385", "rv32imc"):
        try:
            find_emulator(get_target(target))
        except UserError as error:
            pytest.skip(str(error))
        bundle = tmp_path / f"bundle-{target}"
        write_bundle(bundle, "lfp", get_target(target).build, tmp_path / "frontend.onnx", tmp_path / "decoder.onnx")
        result = simulate_stream(bundle, get_target(target), samples, expected, tmp_path / f"work-{target}")  # refuses what does not fit
        assert result.mismatch is None
        assert result.steps == BINS
        cycles = result.regions["decoder"].cycles.cycles
        macs = sum(row.macs for row in result.kernels if row.stage == "decoder")
        assert macs == size.student_macs_per_step
        busy = result.cycles_per_step.cycles / (get_target(target).clock_hz * settings.bin_ms / 1000)
        print(
            f"{name} on {target}: decoder {cycles:,.0f} cycles per step, {cycles / macs:.2f} a MAC; "
            f"with the front end {busy:.0%} of the clock; flash {result.memory.flash:,}, RAM {result.memory.ram:,} bytes"
        )
        assert (busy > 1) == ((name, target) in TOO_SLOW)
