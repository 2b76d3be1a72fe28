"""Rung 4 of the ladder: the firmware on each simulated core gives onnxruntime's bytes, and a single wrong bit shows."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.stepgraph import save_model
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.emulator import find_emulator
from firmware_sim.simulate import StreamResult, simulate_stream
from firmware_sim.targets import get_target, targets
from quantization.golden import run_decoder, run_frontend
from realm_edge.errors import UserError

BINS = 100
PARTS = ["cortex-m4", "rv32imc"]
# The part with the most RAM of each: small ones do not hold this decoder.
ONE_A_BUILD = {part.build: name for name, part in sorted(targets().items(), key=lambda item: item[1].ram_bytes)}
OF_EACH_BUILD = [pytest.param(name, marks=() if build in PARTS else pytest.mark.slow) for build, name in ONE_A_BUILD.items()]
# Kernels of the other core are held to the reference one by one (test_kernels_on_cores.py).
SLOW_ON_M4 = [pytest.param("cortex-m4", marks=pytest.mark.slow), "rv32imc"]
SLOW_ON_IBEX = ["cortex-m4", pytest.param("rv32imc", marks=pytest.mark.slow)]


def emulator_or_skip(name: str) -> None:
    try:
        find_emulator(get_target(name))
    except UserError as error:
        pytest.skip(str(error))


def simulate(chain, decoder: onnx.ModelProto, target: str, folder) -> StreamResult:
    """The firmware of ``decoder`` against the unchanged decoder in onnxruntime."""
    emulator_or_skip(target)
    samples = chain.samples[: BINS * 20]
    features, frontend_states = run_frontend(chain.frontend_int8, samples)
    outputs, decoder_states = run_decoder(chain.decoder_int8, features)
    for name, model in (("frontend", chain.frontend_int8), ("decoder", decoder)):
        save_model(model, folder / f"{name}.onnx")
    write_bundle(folder / "bundle", "lfp", get_target(target).build, folder / "frontend.onnx", folder / "decoder.onnx")
    expected = Expected(outputs, frontend_states | decoder_states, features)
    return simulate_stream(folder / "bundle", get_target(target), samples, expected, folder / "work")


def changed(model: onnx.ModelProto, name: str, change) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = next(i for i in copy.graph.initializer if i.name == name)
    values = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(change(values), name))
    return copy


@pytest.mark.parametrize("target", OF_EACH_BUILD)
def test_firmware_equals_onnxruntime(chain, target, tmp_path):
    result = simulate(chain, chain.decoder_int8, target, tmp_path)
    assert result.mismatch is None and result.bit_exact
    assert result.steps == BINS
    by_op = {row.op for row in result.kernels if row.cycles > 0}
    assert {"QLinear", "QSelectiveStep", "QBiquad", "QBinFeatures"} <= by_op
    d_model, d_inner, d_state, heads, taps = 24, 48, 16, 3, 4
    conv_dim = d_inner + 2 * d_state
    block = d_model * (d_inner + conv_dim + heads) + taps * conv_dim + 3 * heads * 16 * d_state + d_inner * d_model
    assert result.macs_per_step == chain.features.shape[1] * d_model + 2 * block + d_model * 2


@pytest.mark.parametrize("target", SLOW_ON_IBEX)
def test_firmware_with_a_running_z_score_equals_onnxruntime(scored_chain, target, tmp_path):
    result = simulate(scored_chain, scored_chain.decoder_int8, target, tmp_path)
    assert result.mismatch is None and result.bit_exact
    assert {"QBinFeatures", "QRunningZ"} <= {row.op for row in result.kernels if row.cycles > 0}


@pytest.mark.parametrize("target", SLOW_ON_M4)
def test_firmware_with_int16_into_linear_layers_equals_onnxruntime(wide_chain, target, tmp_path):
    result = simulate(wide_chain, wide_chain.decoder_int8, target, tmp_path)
    assert result.mismatch is None and result.bit_exact
    ran = {row.op for row in result.kernels if row.cycles > 0}
    assert "QLinear16" in ran and "QLinear" not in ran


@pytest.mark.parametrize("target", SLOW_ON_M4)
def test_firmware_of_the_channel_tokenizer_equals_onnxruntime(channel_chain, target, tmp_path):
    result = simulate(channel_chain, channel_chain.decoder_int8, target, tmp_path)
    assert result.mismatch is None and result.bit_exact
    macs = {row.op: row.macs for row in result.kernels if row.cycles > 0}
    channels, kinds = 6, channel_chain.features.shape[1] // 6
    assert macs["QChannelConv"] == channels * kinds * 3 * 8 and macs["QChannelAttention"] == channels * 5
    assert "QChannelGate" in macs


@pytest.mark.parametrize("target", PARTS)
@pytest.mark.parametrize(("name", "op"), [("wiener_chain", "QFir"), ("gru_chain", "QGruStep")])
def test_firmware_of_classic_decoders_equals_onnxruntime(name, op, target, request, tmp_path):
    chain = request.getfixturevalue(name)
    result = simulate(chain, chain.decoder_int8, target, tmp_path)
    assert result.mismatch is None and result.bit_exact
    assert op in {row.op for row in result.kernels if row.cycles > 0}
    weights = [i for i in chain.decoder_int8.graph.initializer if i.name.endswith("weight")]
    assert result.macs_per_step == sum(len(i.raw_data) for i in weights)


def flip_bit(weight: np.ndarray) -> np.ndarray:
    weight.flat[5] ^= 1 << 4
    return weight


@pytest.mark.parametrize(
    "name, change",
    [("blocks.0.mixer.in_proj.weight", flip_bit), ("blocks.1.mixer.out_proj.two_k", lambda two_k: two_k * 2)],
    ids=["one weight bit", "one shift"],
)
def test_one_wrong_bit_is_seen(chain, name, change, tmp_path):
    result = simulate(chain, changed(chain.decoder_int8, name, change), "cortex-m4", tmp_path)
    assert not result.bit_exact
    assert result.mismatch is not None and result.mismatch.expected != result.mismatch.got
