"""Small integer step graphs with random constants and every operator of the domain; ``channel_chain`` has the channel tokenizer's."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT8, INT16
from export.stepgraph import GraphBuilder
from quantization.functions import functions
from tests.firmware_sim import frontends

CHANNELS, TICKS, BANDS = 6, 5, 2
LFP = frontends.FrontEnd(
    good=(1, 1, 0, 1, 1, 1),
    filters=(frontends.SOFT_HIGHPASS,),
    feedback=((2, -1), (1,)),
    bands=frontends.BANDS[:BANDS],
    ticks=TICKS,
    power_bins=4,
)
SPIKE = frontends.FrontEnd(
    good=(1,) * CHANNELS, averaged=False, filters=(frontends.HIGHPASS,), feedback=((1,),), ticks=TICKS, guard=5, limit=2**21
)
FEATURES, D_MODEL, HEADS, HEADDIM, D_STATE, TAPS, DIMS = CHANNELS * (1 + BANDS), 12, 3, 8, 16, 4, 2
D_INNER = HEADS * HEADDIM
CONV = D_INNER + 2 * D_STATE


@dataclass
class Sketch:
    """A graph under construction: random constants, named after node and role."""

    graph: GraphBuilder
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

    def add(self, op: str, name: str, tensors: list[str], outputs: list[str], *constants: NDArray | int, **attributes: int) -> None:
        names = [self.graph.constant(f"{name}.{i}", c, np.int64 if isinstance(c, int) else c.dtype.type) for i, c in enumerate(constants)]
        self.graph.node(op, [*tensors, *names], outputs, name, **attributes)

    def ints(self, dtype: type, limit: int, *shape: int) -> NDArray:
        return self.rng.integers(-limit, limit + 1, shape).astype(dtype)

    def state(self, name: str, dtype: type, *shape: int) -> list[str]:
        return list(self.graph.state(name, dtype, shape))


def decoder() -> onnx.ModelProto:
    s = Sketch(GraphBuilder("decoder", functions()))
    s.graph.input("features", np.int16, (FEATURES,), unit="front-end features", scale=[0.5] * FEATURES, offset=0.0)
    standardise(s)
    linear(s, "tokenizer", "x8", "tokens", FEATURES, D_MODEL)
    norm(s, "token_norm", "tokens", "stream0", INT16)
    for i in range(2):
        block(s, f"blocks.{i}", f"stream{i}", f"stream{i + 1}")
    norm(s, "final_norm", "stream2", "last8", INT8)
    linear(s, "head", "last8", "decoded", D_MODEL, DIMS)
    s.graph.output("decoded", np.int16, (DIMS,), unit="mm/s", scale=0.1, offset=0.0)
    return s.graph.build(rate_hz=50.0, kind="decoder")


def gru_decoder() -> onnx.ModelProto:
    """A gated recurrent unit, whose state two nodes read, and a filter behind it."""
    s, units = Sketch(GraphBuilder("decoder", functions())), 10
    s.graph.input("features", np.int16, (FEATURES,), unit="front-end features", scale=[0.5] * FEATURES, offset=0.0)
    standardise(s)
    linear(s, "input", "x8", "entering", FEATURES, 3 * units)
    h_in, h_out = s.state("gru.h", np.int16, units)
    narrow(s, "before", h_in, "before8", units)
    linear(s, "hidden", "before8", "recurrent", units, 3 * units)
    codes = np.arange(-128, 129) / 8
    tables = [np.rint(32767 * curve).astype(np.int16) for curve in (1 / (1 + np.exp(-codes)), np.tanh(codes))]
    s.add("QGruStep", "step", ["entering", "recurrent", h_in], [h_out], *tables)
    narrow(s, "after", h_out, "after8", units)
    sums_in, sums_out = s.state("filter.sums", np.int32, 3, DIMS)
    taps = (s.ints(np.int8, 127, 4 * units, DIMS), s.ints(np.int32, 9000, DIMS), s.ints(np.int32, 2**30 - 1, DIMS), 2**32)
    s.add("QFir", "filter", ["after8", sums_in], ["decoded", sums_out], *taps)
    s.graph.output("decoded", np.int16, (DIMS,), unit="mm/s", scale=0.1, offset=0.0)
    return s.graph.build(rate_hz=50.0, kind="decoder")


def standardise(s: Sketch) -> None:
    constants = (s.ints(np.int32, 2**20, FEATURES), s.ints(np.int64, 2**32, FEATURES), 2**26)
    s.add("QNormalise", "normalise", ["features"], ["x8"], *constants, to=INT8)


def narrow(s: Sketch, name: str, x: str, y: str, n: int) -> None:
    s.add("QNormalise", name, [x], [y], np.full(n, 20000, np.int32), np.zeros(n, np.int64), 2**22, to=INT8)


def linear(s: Sketch, name: str, x: str, y: str, n_in: int, n_out: int, op: str = "QLinear") -> None:
    s.add(
        op,
        name,
        [x],
        [y],
        s.ints(np.int8, 127, n_in, n_out),
        s.ints(np.int32, 9000, n_out),
        s.ints(np.int32, 2**30 - 1, n_out),
        2**31,
    )


def norm(s: Sketch, name: str, x: str, y: str, to: int) -> None:
    k = 22 if to == INT8 else 14
    s.add("QLayerNorm", name, [x], [y], D_MODEL, 32, s.ints(np.int32, 2**14, D_MODEL), s.ints(np.int32, 2**25, D_MODEL), 100, 2**k, to=to)


def block(s: Sketch, name: str, x: str, y: str) -> None:
    def tensor(what: str) -> str:
        return f"{name}.{what}"

    def table(what: str, source: str, limit: int, *base: int) -> None:
        points = s.ints(np.int16, limit, 257 * max(1, len(base)))
        points = np.abs(points) if base else points
        s.add("QTable", tensor(what), [tensor(source)], [tensor(what)], points, np.array(base, np.int64) if base else 0)

    norm(s, tensor("norm"), x, tensor("n8"), INT8)
    linear(s, tensor("in_proj"), tensor("n8"), tensor("projected"), D_MODEL, 2 * D_INNER + 2 * D_STATE + HEADS)
    parts = [tensor("z"), tensor("xbc"), tensor("dt_raw")]
    sizes = s.graph.constant(tensor("sizes"), [D_INNER, CONV, HEADS], np.int64)
    s.graph.node("Split", [tensor("projected"), sizes], parts, tensor("split"), domain="", axis=0)
    conv_in, conv_out = s.state(tensor("conv"), np.int16, TAPS - 1, CONV)
    weights = (s.ints(np.int8, 127, TAPS, CONV), s.ints(np.int32, 2**20, CONV), s.ints(np.int32, 2**25, CONV), 2**32)
    s.add("QConv", tensor("conv1d"), [tensor("xbc"), conv_in], [tensor("conv"), conv_out], *weights)
    sizes = s.graph.constant(tensor("conv_sizes"), [D_INNER, D_STATE, D_STATE], np.int64)
    s.graph.node("Split", [tensor("conv"), sizes], [tensor("x"), tensor("b"), tensor("c")], tensor("conv_split"), domain="", axis=0)
    for what, limit in (("x", 32767), ("b", 32767), ("c", 65535 // D_STATE)):
        table(f"{what}_silu", what, limit)
    rows = range(0, HEADS * 257, 257)
    table("decay", "dt_raw", 32767, *rows)
    table("dt", "dt_raw", 20000, *rows)
    h_in, h_out = s.state(tensor("h"), np.int16, HEADS, HEADDIM, D_STATE)
    names = [tensor(t) for t in ("x_silu", "b_silu", "c_silu", "decay", "dt")]
    mults = [s.graph.constant(tensor(m), s.ints(np.int32, 2**20, HEADS), np.int32) for m in ("y_mult", "d_mult")]
    two_u, two_y = (s.graph.constant(tensor(f"two_{w}"), 2**k, np.int64) for w, k in (("u", 15), ("y", 25)))
    s.graph.node("QSelectiveStep", [*names, h_in, two_u, *mults, two_y], [tensor("y"), h_out], tensor("ssm"))
    table("gate", "z", 32767)
    weight = s.ints(np.int32, 2**14, D_INNER)
    s.add("QGatedNorm", tensor("gated"), [tensor("y"), tensor("gate")], [tensor("g16")], 2**14, weight, 50, 2**13, to=INT16)
    linear(s, tensor("out_proj"), tensor("g16"), tensor("mixed"), D_INNER, D_MODEL, "QLinear16")
    s.add("QAdd", tensor("residual"), [x, tensor("mixed")], [y])


def lfp_frontend() -> onnx.ModelProto:
    return LFP.model()


def spike_frontend() -> onnx.ModelProto:
    return SPIKE.model()
