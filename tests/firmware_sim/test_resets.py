"""The firmware starts anew at the pauses of a run, and gives onnxruntime's bytes behind each of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from export.stepgraph import save_model
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.emulator import find_emulator
from firmware_sim.simulate import StreamResult, simulate_stream
from firmware_sim.targets import get_target
from firmware_sim.validation.firmware import FIRMWARES
from quantization.golden import run_decoder, run_frontend
from realm_edge.errors import UserError

BINS = 40
QUICK = (("LFP", "cortex-m4"), ("gru", "rv32imc"))  # with a front end and without
STARTS = (0, 1, 9, 10, 22, 31, 39)  # six resets: after one bin, two in a row, and before the last bin


@dataclass(frozen=True)
class Case:
    """Integer graphs of a stream, and what its firmware reads: ADC counts, or without a front end features."""

    stream: str
    frontend: onnx.ModelProto | None
    decoder: onnx.ModelProto
    samples: NDArray[np.int16]

    def expected(self) -> Expected:
        features, states = self.samples, {}
        if self.frontend is not None:
            features, states = run_frontend(self.frontend, self.samples, STARTS)
        outputs, decoder_states = run_decoder(self.decoder, features, STARTS)
        assert len(outputs) == BINS
        return Expected(outputs, states | decoder_states, features if self.frontend is not None else None)


def case_of(name: str, request) -> Case:
    if name == "spikes":
        graphs = FIRMWARES["spike"]()
        return Case("spike", graphs.frontend, graphs.decoder, graphs.samples[: BINS * 600])
    chain = request.getfixturevalue({"LFP": "scored_chain"}.get(name, f"{name}_chain"))
    samples = chain.samples[: BINS * 20]
    if name == "LFP":
        return Case("lfp", chain.frontend_int8, chain.decoder_int8, samples)
    return Case("lfp", None, chain.decoder_int8, run_frontend(chain.frontend_int8, samples)[0])


@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param(name, target, marks=() if (name, target) in QUICK else pytest.mark.slow)
        for name in ("LFP", "spikes", "channel", "wiener", "gru")
        for target in ("cortex-m4", "rv32imc")
    ],
)
def test_firmware_with_resets_equals_onnxruntime(name, target, request, tmp_path: Path):
    try:
        find_emulator(get_target(target))
    except UserError as error:
        pytest.skip(str(error))
    case = case_of(name, request)
    for path, model in (("frontend.onnx", case.frontend), ("decoder.onnx", case.decoder)):
        if model is not None:
            save_model(model, tmp_path / path)
    frontend = tmp_path / "frontend.onnx" if case.frontend is not None else None
    write_bundle(tmp_path / "bundle", case.stream, get_target(target).build, frontend, tmp_path / "decoder.onnx")
    expected = case.expected()

    def simulate(starts: tuple[int, ...]) -> StreamResult:
        return simulate_stream(tmp_path / "bundle", get_target(target), case.samples, expected, tmp_path / "work", starts=starts)

    result = simulate(STARTS)
    assert result.mismatch is None and result.steps == BINS
    reset = result.regions["reset"].visits
    assert reset.count == len(STARTS) and reset.longest.cycles > 0
    left_out = simulate((*STARTS[:4], *STARTS[5:])).mismatch
    assert left_out is not None and left_out.step == STARTS[4]
