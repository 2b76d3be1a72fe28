"""Step graphs as other people export or write them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

INPUTS, UNITS = 6, 8


class Recurrent(nn.Module):
    """A layer of torch and a linear head: a step takes states and gives them back."""

    def __init__(self, kind: str, layers: int = 1) -> None:
        super().__init__()
        self.layer, self.head = getattr(nn, kind)(INPUTS, UNITS, num_layers=layers), nn.Linear(UNITS, 2)

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y, after = self.layer(x, states if len(states) > 1 else states[0])
        return (self.head(y), *(after if isinstance(after, tuple) else (after,)))


class Cell(nn.Module):
    """A cell that exporters write out gate by gate, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.norm, self.head = nn.GRUCell(INPUTS, UNITS), nn.LayerNorm(UNITS), nn.Linear(UNITS, 2)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        after = self.cell(x, h)
        return self.head(self.norm(after)), after


class Window(nn.Module):
    """A convolution over a window that is a state, of all channels or each by itself."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(INPUTS, INPUTS, 4, groups=groups), nn.Linear(INPUTS, 2)

    def forward(self, x: torch.Tensor, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        window = torch.cat([window, x[:, :, None]], 2)
        return self.head(nn.functional.gelu(self.conv(window))[:, :, 0]), window[:, :, 1:]


class Norms(nn.Module):
    """RMSNorm and LayerNorm in plain arithmetic, a residual, and products of functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(INPUTS, UNITS), nn.Linear(UNITS, UNITS), nn.Linear(UNITS, 2)
        self.gain = nn.Parameter(torch.rand(UNITS) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y = y + self.second(nn.functional.silu(y * torch.rsqrt((y * y).mean(-1, keepdim=True) + 1e-5) * self.gain))
        away = y - y.mean(-1, keepdim=True)
        y = away / torch.sqrt((away**2).mean(-1, keepdim=True) + 1e-5) * self.gain + 0.1
        return self.head(torch.tanh(y) * torch.sigmoid(self.second(y)))


class Leaky(nn.Module):
    """Means with a time constant each."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.taken = nn.Linear(INPUTS, 2), nn.Parameter(torch.linspace(0.1, 0.9, INPUTS))

    def forward(self, x: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = mean + self.taken * (x - mean)
        return self.head(torch.log1p(torch.exp(mean))), mean


def exported(module: nn.Module, shapes: Sequence[tuple[int, ...]], path: Path, dynamo: bool = False) -> Path:
    """By torch.onnx.export: input x, states s0_in, s1_in and so on, result y."""
    inputs = ["x", *(f"s{i}_in" for i in range(len(shapes) - 1))]
    outputs = ["y", *(f"s{i}_out" for i in range(len(shapes) - 1))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zeros = tuple(torch.zeros(shape) for shape in shapes)
        torch.onnx.export(module.eval(), zeros, str(path), input_names=inputs, output_names=outputs, dynamo=dynamo, external_data=False)
    return path


def gru(path: Path, layers: int = 1, dynamo: bool = False) -> Path:
    torch.manual_seed(0)
    return exported(Recurrent("GRU", layers), [(1, 1, INPUTS), (layers, 1, UNITS)], path, dynamo)


def lstm(path: Path, layers: int = 1, dynamo: bool = False) -> Path:
    torch.manual_seed(0)
    return exported(Recurrent("LSTM", layers), [(1, 1, INPUTS), (layers, 1, UNITS), (layers, 1, UNITS)], path, dynamo)


def rnn(path: Path) -> Path:
    torch.manual_seed(0)
    return exported(Recurrent("RNN", 2), [(1, 1, INPUTS), (2, 1, UNITS)], path)


def of_module(module: type[nn.Module], *arguments: Any, state: tuple[int, ...] | None, path: Path) -> Path:
    torch.manual_seed(0)
    return exported(module(*arguments), [(1, INPUTS), *([state] if state else [])], path)


def keras_lstm(path: Path) -> Path:
    """A layer of Keras with its states as inputs and outputs, unrolled: else it is exported as a loop."""
    import keras
    import tensorflow as tf
    import tf2onnx

    x, h, c = (keras.Input(batch_shape=shape, name=name) for name, shape in (("x", (1, 1, 6)), ("h_in", (1, 8)), ("c_in", (1, 8))))
    y, *after = keras.layers.LSTM(8, return_state=True, unroll=True)(x, initial_state=[h, c])
    model = keras.Model([x, h, c], [keras.layers.Dense(2)(y), *after])
    signature = [tf.TensorSpec(each.shape, tf.float32, name=each.name) for each in model.inputs]
    step = tf.function(lambda *values: dict(zip(("y", "h_out", "c_out"), model(list(values)), strict=True)), input_signature=signature)
    tf2onnx.convert.from_function(step, input_signature=signature, opset=18, output_path=str(path))
    return path


class Written:
    """A graph that is written node by node; weights are drawn."""

    def __init__(self) -> None:
        self.rng, self.nodes, self.weights = np.random.default_rng(0), [], {}

    def weight(self, name: str, *shape: int, gain: float | None = None) -> str:
        drawn = self.rng.normal(size=shape) * (shape[0] ** -0.5 if gain is None else gain)
        return self.constant(name, drawn.astype(np.float32))

    def constant(self, name: str, value: Any) -> str:
        array = np.asarray(value)
        self.weights[name] = array if array.dtype == np.float32 else array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        return name

    def node(self, op: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name=f"{outputs[0]} node", **attributes))
        return outputs[0]

    def save(self, path: Path, inputs: dict[str, tuple], outputs: dict[str, tuple], opset: int = 20) -> Path:
        ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in side.items()] for side in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "written", *ends, [numpy_helper.from_array(v, k) for k, v in self.weights.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
        return path


def mamba2(path: Path, d: int = 12, heads: int = 3, width: int = 8, keys: int = 16, taps: int = 4) -> Path:
    """A block of Mamba-2 in opset 27, with the names that past and present states have in ONNX."""
    w, inner = Written(), heads * width
    conv = inner + 2 * keys
    w.node("LayerNormalization", ["x", w.constant("n.w", np.ones(d)), w.constant("n.b", np.zeros(d))], "n", axis=-1)
    w.node("MatMul", ["n", w.weight("in.w", d, 2 * inner + 2 * keys + heads)], "projected")
    w.node("Split", ["projected", w.constant("in.split", [inner, conv, heads])], "z", "xbc", "dt", axis=2)
    w.node("Transpose", ["xbc"], "columns", perm=[0, 2, 1])
    taken = ["columns", w.weight("conv.w", conv, 1, taps, gain=0.5), w.weight("conv.b", conv, gain=0.1), "past_conv"]
    w.node("CausalConvWithState", taken, "filtered", "present_conv", activation="silu")
    w.node("Transpose", ["filtered"], "rows", perm=[0, 2, 1])
    w.node("Split", ["rows", w.constant("conv.split", [inner, keys, keys])], "values", "b", "c", axis=2)
    w.node("Softplus", [w.node("Add", ["dt", w.constant("dt.b", w.rng.normal(size=heads) - 2)], "dt biased")], "step")
    w.node("Mul", ["step", w.constant("a", -np.exp(w.rng.normal(size=heads)))], "decay")
    w.node("Reshape", ["values", w.constant("by head", [1, 1, heads, width])], "values by head")
    w.node("Mul", ["values by head", w.node("Unsqueeze", ["step", w.constant("last", [3])], "column")], "u")
    w.node("Reshape", ["u", w.constant("flat", [1, 1, inner])], "v")
    for name, source in (("k", "b"), ("q", "c")):
        w.node("Tile", [source, w.constant(f"{name}.times", [1, 1, heads])], name)
    heads_of = {"q_num_heads": heads, "kv_num_heads": heads}
    w.node("LinearAttention", ["q", "k", "v", "past_h", "decay"], "o", "present_h", update_rule="gated", scale=1.0, **heads_of)
    w.node("Mul", ["values", w.constant("d", np.repeat(w.rng.normal(size=heads), width))], "direct")
    w.node("Mul", [w.node("Add", ["o", "direct"], "sum"), w.node("Swish", ["z"], "gate")], "gated")
    w.node("RMSNormalization", ["gated", w.constant("norm.w", np.ones(inner))], "normed", axis=-1)
    w.node("Add", [w.node("MatMul", ["normed", w.weight("out.w", inner, d)], "out"), "x"], "residual")
    w.node("MatMul", ["residual", w.weight("head.w", d, 2)], "y")
    states = {"conv": (1, conv, taps - 1), "h": (1, heads, keys, width)}
    past, present = ({f"{when}_{name}": shape for name, shape in states.items()} for when in ("past", "present"))
    return w.save(path, {"x": (1, 1, d), **past}, {"y": (1, 1, 2), **present}, opset=27)


def linear_attention(path: Path, by_key: bool, opset: int = 27, **attributes: Any) -> Path:
    """Two heads with a state, each read by two; the decay is one for each head, or for each key."""
    w, heads, d_k, d_v = Written(), 2, 4, 3
    for name, size in (("q", 2 * heads * d_k), ("k", heads * d_k), ("v", heads * d_v)):
        w.node("MatMul", ["x", w.weight(f"{name}.w", INPUTS, size)], name)
    fade = w.node("MatMul", ["x", w.weight("decay.w", INPUTS, heads * d_k if by_key else heads)], "fade")
    w.node("Neg", [w.node("Softplus", [fade], "positive")], "decay")
    settings = {"q_num_heads": 2 * heads, "kv_num_heads": heads, "update_rule": "gated", **attributes}
    w.node("LinearAttention", ["q", "k", "v", "past_s", "decay"], "y", "present_s", **settings)
    state = (1, heads, d_k, d_v)
    return w.save(path, {"x": (1, 1, INPUTS), "past_s": state}, {"y": (1, 1, 2 * heads * d_v), "present_s": state}, opset)


def layer(path: Path, op: str, gates: int, width: int = UNITS, **attributes: Any) -> Path:
    """ONNX's own GRU, LSTM or RNN with any attributes."""
    w, cells = Written(), 2 if op == "LSTM" else 1
    weights = [w.weight("w", 1, gates * width, INPUTS, gain=0.5), w.weight("r", 1, gates * width, width, gain=0.4)]
    weights += [w.weight("b", 1, 2 * gates * width, gain=0.2), ""]
    states = [f"state.s{i}" for i in range(cells)]
    w.node(op, ["x", *weights, *states], "sequence", *(f"next.s{i}" for i in range(cells)), hidden_size=width, **attributes)
    w.node("Reshape", ["sequence", w.constant("flat", [1, width])], "y")
    inputs, outputs = ({f"{when}.s{i}": (1, 1, width) for i in range(cells)} for when in ("state", "next"))
    return w.save(path, {"x": (1, 1, INPUTS), **inputs}, {"y": (1, width), **outputs})


def residual(path: Path) -> Path:
    """A GRU beside a layer whose results are ten times as large as a hidden value can be."""
    w = Written()
    weights = [w.weight("w", 1, 3 * UNITS, INPUTS, gain=0.5), w.weight("r", 1, 3 * UNITS, UNITS, gain=0.4), "", "", "state.h"]
    w.node("GRU", ["x", *weights], "sequence", "next.h", hidden_size=UNITS, linear_before_reset=1)
    w.node("Add", ["next.h", w.node("MatMul", ["x", w.weight("beside", INPUTS, UNITS, gain=4.0)], "large")], "y")
    return w.save(path, {"x": (1, 1, INPUTS), "state.h": (1, 1, UNITS)}, {"y": (1, 1, UNITS), "next.h": (1, 1, UNITS)})


def quantised_by_others(path: Path) -> Path:
    """A layer between QuantizeLinear and DequantizeLinear, its weights in int8."""
    w = Written()
    scale, zero = w.constant("scale", 0.05), "zero"
    w.weights[zero] = np.zeros((), np.int8)
    w.weights["w8"] = w.rng.integers(-127, 128, (INPUTS, 2)).astype(np.int8)
    quantised = w.node("QuantizeLinear", ["x", scale, zero], "x8")
    exact = w.node("DequantizeLinear", [quantised, scale, zero], "x again")
    w.node("MatMul", [exact, w.node("DequantizeLinear", ["w8", scale, zero], "w")], "y")
    return w.save(path, {"x": (1, INPUTS)}, {"y": (1, 2)})


def functions(path: Path) -> Path:
    """Functions of one element of many kinds."""
    w = Written()
    w.node("MatMul", ["x", w.weight("w", INPUTS, UNITS)], "a")
    result = "a"
    for k, (op, attributes) in enumerate(
        (("Softplus", {}), ("LeakyRelu", {"alpha": 0.2}), ("Erf", {}), ("HardSwish", {}), ("Gelu", {"approximate": "tanh"}), ("Elu", {}))
    ):
        part = w.node(op, ["a"], f"f{k}", **attributes)
        result = w.node("Add", [result, part], f"sum{k}")
    w.node("Clip", [result, w.constant("low", -2.0), w.constant("high", 3.0)], "clipped")
    w.node("MatMul", ["clipped", w.weight("head", UNITS, 2)], "y")
    return w.save(path, {"x": (1, INPUTS)}, {"y": (1, 2)})
