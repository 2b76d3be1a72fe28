"""What each choice of the integer decoder costs: python tests/benchmarks/bench_quantization.py RUN

Quantises the decoders of a run (stages up to quantize) anew with one choice changed at a time and runs them over the run's golden
features. Printed for each variant: NRMSE of the output against the float decoder behind the same integer front end, R2, and bytes.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import Stepper, load_model, metadata
from quantization.arithmetic import TABLE_SEGMENTS, round_shift, saturate, wide
from quantization.calibrate import WARM_UP_BINS, observe
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.golden import Golden, float_decoded
from quantization.sizes import sizes
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.errors import UserError
from realm_edge.metrics import accuracy, nrmse
from realm_edge.settings import Activations
from realm_edge.streams import Stream

Bytes = dict[str, int]


def unchanged(decoder: onnx.ModelProto, listed: Bytes) -> Bytes:
    return listed


@dataclass(frozen=True)
class Variant:
    """``bytes_of`` says what the variant's own storage would take: some are emulated in that of the shipped decoder."""

    name: str
    formats: Formats
    bytes_of: Callable[[onnx.ModelProto, Bytes], Bytes] = unchanged
    state_bits: int = 16


def one_multiplier(decoder: onnx.ModelProto, listed: Bytes) -> Bytes:
    """One scale a weight tensor needs one int32 multiplier instead of one per output channel."""
    weights = {i.name for i in decoder.graph.initializer if i.data_type == onnx.TensorProto.INT8}
    columns = [len(i.raw_data) // 4 for i in decoder.graph.initializer if i.name.removesuffix(".mult") + ".weight" in weights and i.dims]
    return {**listed, "constants": listed["constants"] - 4 * sum(n - 1 for n in columns)}


def smaller_tables(segments: int) -> Callable[[onnx.ModelProto, Bytes], Bytes]:
    return lambda _, listed: {**listed, "tables": listed["tables"] * (segments + 1) // (TABLE_SEGMENTS + 1)}


def one_byte_states(decoder: onnx.ModelProto, listed: Bytes) -> Bytes:
    return {**listed, "states": listed["states"] - sum(int(np.prod(s["shape"])) for s in _hidden(decoder))}


def _hidden(decoder: onnx.ModelProto) -> list[dict]:
    """The states of the selective state space."""
    return [state for state in metadata(decoder)["states"] if len(state["shape"]) == 3]


def variants(shipped: Formats) -> list[Variant]:
    """The shipped decoder first."""
    return [
        Variant("shipped", shipped),
        *(
            Variant(f"{kind} activations", replace(shipped, activations=kind))
            for kind in get_args(Activations)
            if kind != shipped.activations
        ),
        Variant("one scale a weight tensor", replace(shipped, per_channel_weights=False), one_multiplier),
        *(Variant(f"tables of {n} segments", replace(shipped, table_segments=n), smaller_tables(n)) for n in (128, 64, 32, 16)),
        Variant("8-bit state", shipped, one_byte_states, state_bits=8),
    ]


def decode(decoder: onnx.ModelProto, features: NDArray[np.int16], state_bits: int) -> NDArray[np.int16]:
    """Outputs (bins, dims). An 8-bit state is emulated: after each bin the int16 state keeps its upper 8 bits, rounded and saturated."""
    stepper, hidden, step = Stepper(decoder), [s["in"] for s in _hidden(decoder)], 2 ** (16 - state_bits)
    rows = []
    for row in features:
        rows.append(stepper.step({"features": row})["decoded"])
        if state_bits < 16:
            for name in hidden:
                kept = saturate(round_shift(wide(stepper.state[name]), np.int64(step)), state_bits)
                stepper.state[name] = kept.astype(np.int16) * np.int16(step)
    return np.array(rows)


def measure(run: RunDir, stream: Stream) -> None:
    session = next(session for session in load_sessions(run) if session.heldout)
    golden = Golden.load(artefacts.golden(run, stream))
    float_decoder, shipped = load_model(artefacts.float_decoder(run, stream)), load_model(artefacts.int8_decoder(run, stream))
    observed = observe(float_decoder, stream.inputs(session)[: session.train_end], WARM_UP_BINS)
    scale = metadata(shipped)["io"]["features"]["scale"]
    chosen = Formats(run.settings.quantize.activations)
    io, w = metadata(float_decoder)["io"]["decoded"], golden.warm_up
    exact = float_decoded(float_decoder, (golden.features * np.asarray(scale)).astype(np.float32))[w:] * io["scale"] + io["offset"]
    true = session.targets[golden.first_bin + w :][: len(exact)]
    kind = "SYNTHETIC: no evidence about brains" if session.synthetic else "recorded"
    print(f"{stream.name}: float R2 {np.mean(accuracy(true, exact).r2):.4f} over {len(exact)} bins ({kind})")
    print(f"{'variant':<40}{'NRMSE, %':>9}{'R2':>9}{'weights':>9}{'tables':>9}{'constants':>11}{'states':>9}")
    for variant in variants(chosen):
        decoder = quantize_decoder(float_decoder, observed, scale, {}, variant.formats)
        codes = decode(decoder, golden.features, variant.state_bits)
        if variant.name == "shipped" and not np.array_equal(codes, golden.decoded):
            raise SystemExit(f"{run.path}: these sources quantise differently than the run's: run 'realm-edge quantize --out {run.path}'")
        int8 = codes[w:] * np.asarray(metadata(decoder)["scales"]["decoded"]) * io["scale"] + io["offset"]
        listed = variant.bytes_of(decoder, sizes(decoder).bytes)
        scored = f"{100 * nrmse(int8, exact):>9.2f}{np.mean(accuracy(true, int8).r2):>9.4f}"
        print(f"{variant.name:<40}{scored}{listed['weights']:>9,}{listed['tables']:>9,}{listed['constants']:>11,}{listed['states']:>9,}")
    print()


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        run = RunDir.open(Path(sys.argv[1]))
        run.require("quantize")
        for stream in artefacts.present(run):
            measure(run, stream)
    except UserError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
