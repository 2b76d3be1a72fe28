"""Every kernel, compiled for this machine, against the numpy reference: every bit, over the whole range of its inputs."""

import ctypes
import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from tvm import tirx

from export.functions import INT8, INT16
from firmware_sim.compiler import kernels as kernels_of
from firmware_sim.compiler.kernels import SCALAR
from firmware_sim.compiler.kernels.exact import Exact, width
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.kernels.unit_scale import unit_scale_bound
from firmware_sim.compiler.lower import build_object
from quantization import arithmetic
from quantization.operators import OPERATORS
from realm_edge.errors import UserError
from tests.firmware_sim.host import HOST

DRAWS = 300  # of inputs a case
RESULTS = {  # outputs of an operator, where not one
    **dict.fromkeys(("QConv", "QChannelConv", "QChannelAttention", "QSelectiveStep", "QFir", "QLstmStep", "QLinearAttention"), 2),
    "QRunningZ": 4,
}
RNG = np.random.default_rng(7)


@dataclass(frozen=True)
class Input:
    """A tensor whose elements lie in [low, high]; the limits may differ by element."""

    dtype: str
    shape: tuple[int, ...]
    low: ArrayLike
    high: ArrayLike

    @property
    def bound(self) -> int:
        return max(int(np.max(np.abs(self.low))), int(np.max(np.abs(self.high))))

    def draw(self, rng: np.random.Generator) -> NDArray:
        """Ends, neighbours of zero, uniform, and of every magnitude; now and then everything at an end."""
        low, high = (np.broadcast_to(np.asarray(v, np.int64), self.shape) for v in (self.low, self.high))
        uniform = rng.integers(low, high, endpoint=True)
        if rng.random() < 0.2:
            return np.where(rng.random(self.shape) < rng.choice([0, 0.5, 1]), low, high).astype(self.dtype)
        small = np.sign(uniform) * (np.abs(uniform) >> rng.integers(0, 48, self.shape))
        edge = np.choose(rng.integers(0, 5, self.shape), [low, high, -1, 0, 1])
        return np.clip(np.choose(rng.integers(0, 3, self.shape), [uniform, small, edge]), low, high).astype(self.dtype)


@dataclass(frozen=True)
class Case:
    """One specialisation of an operator; constants are arrays."""

    op: str
    operands: tuple[Input | NDArray, ...]
    attributes: dict[str, int] = field(default_factory=dict)


def int8(*shape: int) -> Input:
    return Input("int8", shape, -128, 127)


def int16(*shape: int, low: int = -32768, high: int = 32767) -> Input:
    return Input("int16", shape, low, high)


def symmetric(dtype: str, limit: int, *shape: int) -> Input:
    return Input(dtype, shape, -limit, limit)


def const(dtype: str, limit: int, *shape: int) -> NDArray:
    """Random constants with the two ends among them."""
    values = RNG.integers(-limit, limit, shape, endpoint=True)
    values.flat[0], values.flat[-1] = -limit, limit
    return values.astype(dtype)


def scalars(*values: int) -> tuple[NDArray, ...]:
    return tuple(np.array(v, np.int64) for v in values)


def linear(n_in: int, n_out: int, mult: int, k: int, bias: int = 2**30, wide: bool = False) -> Case:
    constants = (const("int8", 127, n_in, n_out), const("int32", bias, n_out), const("int32", mult, n_out))
    return Case("QLinear16" if wide else "QLinear", (int16(n_in) if wide else int8(n_in), *constants, *scalars(2**k)))


def conv(taps: int, mult: int, k: int, bias: int = 2**30, channels: int = 5) -> Case:
    constants = (const("int8", 127, taps, channels), const("int32", bias, channels), const("int32", mult, channels))
    return Case("QConv", (int16(channels), int16(taps - 1, channels), *constants, *scalars(2**k)))


def add(n: int) -> Case:
    return Case("QAdd", (int16(n), int16(n)))


def table(n: int, limit: int, rows: int = 1, row: int = 0) -> Case:
    return Case("QTable", (int16(n), const("int16", limit, 257 * rows), *scalars(257 * row)))


def channel_conv(taps: int, kinds: int, channels: int, maps: int, mult: int, k: int, bias: int = 2**30) -> Case:
    n = kinds * channels
    constants = (const("int8", 127, taps * kinds, maps), const("int32", bias, maps), const("int32", mult, maps))
    return Case("QChannelConv", (int8(n), int8(taps - 1, n), *constants, *scalars(2**k)))


def attention(channels: int, maps: int, f: int, leak: int, r: int, mult: int, k: int, x: int = 32767, reach: int = 5) -> Case:
    mean = symmetric("int32", maps * x << f, channels)
    weight = const("int8", 127, reach)
    return Case(
        "QChannelAttention", (symmetric("int16", x, channels * maps), mean, *scalars(2**f, 2**leak, 2**r), weight, *scalars(mult, 2**k))
    )


def layer_norm(n: int, weight: int, bias: int, eps: int, k: int, to: int) -> Case:
    g = int(np.ceil(np.log2(n))) + 1
    constants = (const("int32", weight, n), const("int32", bias, n))
    return Case("QLayerNorm", (int16(n), *scalars(n, 2**g), *constants, *scalars(eps, 2**k)), {"to": to})


def normalise(n: int, mult: int, bias: int, k: int, to: int = INT8) -> Case:
    return Case("QNormalise", (int16(n), const("int32", mult, n), const("int64", bias, n), *scalars(2**k)), {"to": to})


def relu(n: int, mult: int, k: int, to: int) -> Case:
    return Case("QRelu", (int16(n), *scalars(mult, 2**k)), {"to": to})


def gated_norm(n: int, k_v: int, weight: int, eps: int, k: int, to: int = INT8) -> Case:
    return Case("QGatedNorm", (int16(n), int16(n), *scalars(2**k_v), const("int32", weight, n), *scalars(eps, 2**k)), {"to": to})


def selective(heads: int, headdim: int, d_state: int, k_u: int, mult: int, k_y: int) -> Case:
    c = symmetric("int16", 65535 // d_state if d_state > 1 else 32767, d_state)
    vectors = (int16(heads * headdim), int16(d_state), c, int16(heads, low=0), int16(heads, low=0))
    mults = (const("int32", mult, heads), const("int32", mult, heads))
    return Case(
        "QSelectiveStep", (*vectors, symmetric("int16", 32767, heads, headdim, d_state), *scalars(2**k_u), *mults, *scalars(2**k_y))
    )


def fir(lags: int, n: int, dims: int, mult: int, k: int, bias: int = 2**30) -> Case:
    weight = const("int8", 127, lags * n, dims)
    later = (
        np.abs(weight.astype(int)).reshape(lags, n, dims).sum(axis=1)[::-1].cumsum(axis=0)[::-1][1:]
    )  # of the lags that a sum still gets
    state = Input("int32", (lags - 1, dims), -128 * later, 128 * later)
    return Case("QFir", (int8(n), state, weight, const("int32", bias, dims), const("int32", mult, dims), *scalars(2**k)))


def gru(width: int) -> Case:
    tables = (np.abs(const("int16", 32767, 257)), const("int16", 32767, 257))
    return Case("QGruStep", (int16(3 * width), int16(3 * width), symmetric("int16", 32767, width), *tables))


def lstm(width: int, e: int) -> Case:
    tables = (np.abs(const("int16", 32767, 257)), const("int16", 32767, 257), const("int16", 32767, 257))
    return Case("QLstmStep", (int16(4 * width), int16(4 * width), int16(width), int16(width), *tables, *scalars(2**e)))


def linear_attention(heads: int, times: int, d_v: int, d_k: int, k_u: int, mult: int, k_y: int, per_key: bool = False) -> Case:
    q = symmetric("int16", min(32767, 65535 // d_k), heads * times * d_k)
    gate = int16(heads * d_k if per_key else heads, low=0)
    mults = (const("int32", 2**15 - 1, heads), *scalars(2**k_u), const("int32", mult, heads), *scalars(2**k_y))
    return Case("QLinearAttention", (q, int16(heads * d_k), int16(heads * d_v), gate, int16(heads, d_v, d_k), *mults))


def product(n: int, mult: int, k: int, to: int) -> Case:
    return Case("QProduct", (int16(n), int16(n), *scalars(mult, 2**k)), {"to": to})


def rms_norm(n: int, weight: int, eps: int, k: int, to: int = INT16) -> Case:
    return Case("QRmsNorm", (int16(n), const("int32", weight, n), *scalars(eps, 2**k)), {"to": to})


def running_z(window: int, floor: ArrayLike) -> Case:
    states = (Input("int32", (1,), 0, window), symmetric("int64", 2**39, 5), Input("int64", (5,), 0, 2**40))
    signals = (int16(5), Input("int32", (1,), 0, 1))
    return Case("QRunningZ", (*signals, *states, symmetric("int16", 32767, 5), *scalars(window), np.array(floor, np.int64)))


CASES = {
    "normalise": normalise(9, 2**30 - 1, 2**46, 38),
    "normalise-int16": normalise(9, 2**30 - 1, 2**46, 30, INT16),
    "normalise-32-bit": normalise(9, 300, 5000, 16),
    "normalise-no-shift": normalise(1, 3, 1, 0),
    "linear": linear(40, 7, 2**30 - 1, 46),
    "linear-many-rows": linear(33, 131, 2**30 - 1, 36, bias=4000),
    "linear-two-rows": linear(64, 2, 2**20, 24, bias=4000),
    "linear-32-bit": linear(16, 4, 7, 5, bias=100),
    "linear-no-shift": linear(3, 1, 3, 0, bias=100),
    "linear-int16": linear(40, 7, 2**30 - 1, 54, wide=True),
    "linear-int16-64-bit": linear(600, 5, 2**30 - 1, 58, wide=True),
    "linear-int16-32-bit": linear(3, 2, 7, 20, bias=100, wide=True),
    "layer-norm-8": layer_norm(24, 2**15 - 1, 2**30, 1, 23, 3),
    "layer-norm-16": layer_norm(64, 2**14, 2**28, 1000, 15, 5),
    "layer-norm-large-eps": layer_norm(24, 2**15 - 1, 1, 2**46, 0, 5),
    "layer-norm-wide-weight": layer_norm(7, 2**30, 2**30, 3, 30, 5),
    "gated-norm": gated_norm(48, 15, 2**15 - 1, 1, 23),
    "gated-norm-int16": gated_norm(48, 15, 2**15 - 1, 1, 15, INT16),
    "gated-norm-saturating": gated_norm(5, 0, 2**15 - 1, 77, 20),
    "gated-norm-large-eps": gated_norm(24, 12, 2**29, 2**46, 30),
    "add": add(9),
    "relu": relu(9, 2**15 - 1, 22, INT8),
    "relu-int16": relu(33, 2**15 - 1, 13, INT16),
    "relu-64-bit": relu(5, 2**30, 30, INT16),
    "relu-no-shift": relu(1, 1, 0, INT8),
    "table": table(50, 32767, 2, 1),
    "table-rows": Case("QTable", (int16(3), const("int16", 32767, 771), np.array([0, 514, 257]))),
    "conv": conv(4, 2**30 - 1, 46),
    "conv-two-taps": conv(2, 2**30 - 1, 38, bias=100),
    "channel-conv": channel_conv(3, 7, 6, 8, 2**30 - 1, 46),
    "channel-conv-one-channel": channel_conv(2, 3, 1, 3, 2**20, 24, bias=4000),
    "channel-conv-odd-maps": channel_conv(4, 1, 5, 6, 7, 5, bias=100),
    "attention": attention(7, 8, 12, 6, 15, 2**30 - 1, 38),
    "attention-one-channel": attention(1, 8, 12, 6, 12, 2**20, 30),
    "attention-four-channels": attention(4, 3, 0, 1, 0, 3, 2),
    "attention-small": attention(9, 2, 20, 0, 4, 2**10, 12, x=100, reach=1),
    "gate": Case("QChannelGate", (int16(40), int16(5, low=0), *scalars(2**22))),
    "gate-one-map": Case("QChannelGate", (int16(3), int16(3, low=0), *scalars(1))),
    "selective": selective(2, 3, 8, 15, 2**30 - 1, 40),
    "selective-long": selective(1, 4, 64, 0, 2**20, 30),
    "selective-small": selective(3, 1, 1, 30, 1000, 12),
    "fir": fir(5, 12, 2, 2**30 - 1, 46),
    "fir-two-lags": fir(2, 7, 3, 2**20, 24, bias=4000),
    "fir-long": fir(50, 9, 1, 2**10, 12, bias=0),
    "gru": gru(12),
    "gru-one-unit": gru(1),
    "lstm": lstm(12, 3),
    "lstm-one-unit": lstm(1, 0),
    "lstm-wide-cell": lstm(2, 15),
    "linear-attention": linear_attention(3, 1, 4, 8, 12, 2**30 - 1, 40),
    "linear-attention-shared": linear_attention(2, 3, 3, 5, 0, 2**20, 30),
    "linear-attention-by-key": linear_attention(2, 2, 3, 4, 15, 1000, 12, per_key=True),
    "linear-attention-one-key": linear_attention(2, 1, 3, 1, 15, 1000, 12),
    "product": product(9, 2**15 - 1, 40, INT8),
    "product-int16": product(33, 2**15 - 1, 30, INT16),
    "product-32-bit": product(4, 1, 15, INT16),
    "product-no-shift": product(1, 1, 0, INT16),
    "gather": Case("QGather", (int16(9), np.array([8, 0, 0, 3, 5, 5, 7, 1, 2, 4, 6], np.int16))),
    "concat": Case("QConcat", (int16(9), int16(4))),
    "store": Case("QStore", (int16(9), int16(9))),
    "rms-norm": rms_norm(48, 2**15 - 1, 1, 15),
    "rms-norm-int8": rms_norm(7, 2**15 - 1, 77, 23, INT8),
    "rms-norm-large-eps": rms_norm(24, 2**29, 2**46, 30),
    "running-z": running_z(4096, [2**33, 1, 2**40, 12345, 2**20]),
    "running-z-short": running_z(2, [1] * 5),
}


def build(case: Case, family: str = SCALAR, alignment: int = 1) -> Kernel:
    operands = tuple(
        Value(f"in{i}", o.dtype, o.shape, o.bound, alignment) if isinstance(o, Input) else o for i, o in enumerate(case.operands)
    )
    outputs = tuple(f"out{i}" for i in range(RESULTS.get(case.op, 1)))
    return kernels_of.build(kernels_of.builder(case.op, family), Node(f"a.onnx: node 'n' ({case.op})", operands, outputs, case.attributes))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> tuple[ctypes.CDLL, dict[str, Kernel]]:
    """All cases in one shared library."""
    folder, target = tmp_path_factory.mktemp("kernels"), HOST
    kernels = {name: build(case) for name, case in CASES.items()}
    for name, kernel in kernels.items():
        build_object(kernel, symbol(name), target, folder / f"{name}.o")
    objects = [f"{name}.o" for name in kernels]
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-shared", *objects, "-o", "kernels.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "kernels.so")), kernels


def symbol(name: str) -> str:
    return "kernel_" + name.replace("-", "_")


def test_the_stack_is_short_where_a_kernel_is_made():
    """TVM reads the source around every call on it."""
    assert kernels_of.build(lambda _: len(inspect.stack()), Node("n", (), (), {})) < 10 < len(inspect.stack())


def test_every_operator_has_a_case():
    """Front ends have tests of their own (test_frontend_blocks.py)."""
    assert {case.op for case in CASES.values()} == set(OPERATORS) - {"QCommonAverage", "QBiquad", "QBinFeatures", "QSpikeCount"}


@pytest.mark.parametrize("name", CASES)
def test_kernel_equals_reference(name, compiled):
    library, kernels = compiled
    case, kernel = CASES[name], kernels[name]
    rng = np.random.default_rng(11)
    reached = set()
    for _ in range(DRAWS):
        arguments = [o.draw(rng) if isinstance(o, Input) else o for o in case.operands]
        expected = OPERATORS[case.op].arithmetic(*arguments, **case.attributes)
        memory = {f"in{i}": np.array(a) for i, a in enumerate(arguments)}
        for value in kernel.outputs:
            if value.name in kernel.in_place:
                memory[value.name] = memory[kernel.in_place[value.name]]
            else:
                memory[value.name] = np.full(value.shape, 85, value.dtype)
        pointers = [memory[p] if isinstance(p, str) else p for p in kernel.pointers]
        getattr(library, symbol(name))(*(ctypes.c_void_p(p.ctypes.data) for p in pointers))
        for value, want in zip(kernel.outputs, expected, strict=True):
            assert (value.dtype, value.shape) == (want.dtype.name, want.shape)
            np.testing.assert_array_equal(memory[value.name], want, err_msg=value.name)
            assert np.max(np.abs(want.astype(np.int64))) <= value.bound
        reached.add(expected[0].tobytes())
    assert len(reached) > 1  # the inputs matter, so that equality says something


def test_unit_scale_stays_below_its_bound():
    sums = np.unique(np.concatenate([np.arange(1, 5000), 2 ** np.arange(47), (RNG.random(5000) * 2**46).astype(np.int64)]))
    worst = max(int(arithmetic.unit_scale(np.array([np.int64(np.sqrt(s))]), np.int64(s - int(np.sqrt(s)) ** 2))[0]) for s in sums)
    assert 32700 < worst <= unit_scale_bound() < 2**15 + 32


def test_width_is_the_narrowest_that_is_exact():
    assert width(2**31 - 1) == "int32"
    assert width(2**31) == "int64"
    with pytest.raises(OverflowError):
        width(2**63)
    zero = tirx.const(0, "int32")
    assert (Exact(zero, 300).clip(200).bound, Exact(zero, 100).clip(200).bound) == (200, 100)


def test_what_leaves_64_bits_while_a_kernel_is_read_is_told_as_such():
    """TVM, which reads it, makes a bug of its own of that."""
    weight, zeros, largest = const("int8", 127, 3000, 7), np.zeros(7, np.int32), np.full(7, 2**31 - 1, np.int32)
    weight[:] = 127
    with pytest.raises(OverflowError, match=r"values may reach 2\^64, beyond 64 bits"):
        build(Case("QLinear16", (int16(3000), weight, zeros, largest, np.array(2**20))))


@pytest.mark.parametrize(
    "name, replaced, message",
    [
        ("linear", {4: np.array(3)}, "input 4 is 3, not a power of two"),
        ("linear", {4: np.array([4])}, "input 4 is int64[1] where int64[] is needed"),
        ("linear", {1: const("int8", 127, 39, 7)}, "input 1 is int8[39, 7] where int8[40, any] is needed"),
        ("linear", {0: int16(40)}, "input 0 is int16[40] where int8[any] is needed"),
        ("linear", {1: int8(40, 7)}, "is not a constant"),
        ("add", {0: const("int16", 9, 9)}, "input 0 is a constant, not a tensor"),
        ("relu", {1: np.array(0)}, "input 1 is 0, less than 1"),
        ("table", {2: np.array(258)}, "rows begin at 258 to 258 in a table of 514 points"),
        ("selective", {2: int16(8)}, "|C| may be 32768: its sum over 8 states leaves 32 bits; scale C to 8191"),
        ("layer-norm-16", {2: np.array(1)}, "its sum of squares may reach 2^48"),
        ("layer-norm-8", {5: np.array(0)}, "input 5 is 0, less than 1"),
        ("channel-conv", {2: const("int8", 127, 20, 8)}, "its 20 weights per map fit no 3 taps of 42 values"),
        ("attention", {0: int16(55)}, "its 55 values are no whole number of maps of 7 channels"),
        ("attention", {2: np.array(2**14)}, "its mean may reach 2^31"),
        ("attention", {5: const("int8", 127, 4)}, "its convolution has 4 taps, which have no middle"),
        ("gate", {1: int16(7)}, "its 40 values are no whole number of maps of 7 channels"),
        ("fir", {2: const("int8", 127, 61, 2)}, "input 2 is int8[61, 2] where int8[60, 2] is needed"),
        ("fir", {3: np.full(2, 2**31 - 1, np.int32)}, "its sums may reach 2^31, beyond int32"),
        ("gru", {3: const("int16", 32767, 257)}, "its table of the sigmoid holds -32767, less than 0"),
        ("lstm", {4: const("int16", 32767, 257)}, "its table of the sigmoid holds -32767, less than 0"),
        ("lstm", {7: np.array(3)}, "input 7 is 3, not a power of two"),
        ("linear-attention", {0: int16(24)}, "|q| may be 32768: its sum over 8 keys leaves 32 bits; scale q to 8191"),
        ("linear-attention", {0: int16(25)}, "its 25 queries are no whole number of those of 3 heads of 8"),
        ("linear-attention", {3: int16(4)}, "its 4 decays are none of 3 heads, or of 24 keys"),
        ("gather", {1: np.array([0, 9], np.int16)}, "takes elements 0 to 9 of 9"),
        ("running-z", {6: np.array(48)}, "input 6 is 48, not a power of two"),
        ("running-z", {7: np.zeros(5, np.int64)}, "input 7 holds 0 to 0, beyond 1 to 2^40"),
    ],
)
def test_what_cannot_be_exact_is_refused(name, replaced, message):
    case = CASES[name]
    operands = tuple(replaced.get(i, operand) for i, operand in enumerate(case.operands))
    with pytest.raises(UserError, match=re.escape(message)):
        build(Case(case.op, operands, case.attributes))
