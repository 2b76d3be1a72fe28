"""One small GRU and one small LSTM through this project, TFLM, ExecuTorch and emlearn: bytes, state, error against float.

In this project's environment, then in an environment of its own for each of the others, on one folder:

    python tests/benchmarks/bench_side_by_side.py models DIR       # trains both, and says what this project makes of them
    pip install tflite-micro tensorflow-cpu; python tests/benchmarks/bench_side_by_side.py tflm DIR
    pip install executorch tosa-tools onnxscript; python tests/benchmarks/bench_side_by_side.py executorch DIR
    pip install emlearn keras tensorflow-cpu; python tests/benchmarks/bench_side_by_side.py emlearn DIR

The task is made up: a leaky sum of functions of 12 slow inputs. Rows 0 to 3,199 calibrate, 3,200 to 3,699 are scored, from the zero state.
"""

import itertools
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
INPUTS, UNITS, OUTPUTS, ROWS = 12, 16, 2, 4000
CALIBRATED, SCORED = slice(0, 3200), slice(3200, 3700)
STATES = {"gru": 1, "lstm": 2}
Floats = NDArray[np.floating]


def rows() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng, x, y = np.random.default_rng(0), np.zeros((ROWS, INPUTS)), np.zeros((ROWS, OUTPUTS))
    for k in range(1, ROWS):
        x[k] = 0.9 * x[k - 1] + 0.45 * rng.normal(size=INPUTS)
    drive = np.tanh(x @ np.random.default_rng(9).normal(size=(INPUTS, OUTPUTS)) / np.sqrt(INPUTS))
    for k in range(1, ROWS):
        y[k] = 0.95 * y[k - 1] + 0.3 * drive[k]
    return x.astype(np.float32), y.astype(np.float32)


def nrmse(values: Floats, exact: Floats) -> str:
    return f"NRMSE {100 * float(np.sqrt(np.mean((values - exact) ** 2 / exact.var(axis=0)))):.2g} %"


def reference(folder: Path, kind: str) -> Floats:
    """What the float model decodes of the scored rows."""
    w = np.load(folder / f"{kind}.npz")
    h, c, results = np.zeros(UNITS), np.zeros(UNITS), []
    for row in rows()[0][SCORED]:
        a, b = w["wi"] @ row + w["bi"], w["wh"] @ h + w["bh"]
        if kind == "gru":
            r, z = (1 / (1 + np.exp(-(a[s] + b[s]))) for s in (slice(0, UNITS), slice(UNITS, 2 * UNITS)))
            h = (1 - z) * np.tanh(a[2 * UNITS :] + r * b[2 * UNITS :]) + z * h
        else:
            i, f, g, o = np.split(a + b, 4)
            i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
        results.append(w["wo"] @ h + w["bo"])
    return np.array(results)


def torch_model(kind: str) -> Any:
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = (nn.GRU if kind == "gru" else nn.LSTM)(INPUTS, UNITS), nn.Linear(UNITS, OUTPUTS)

        def forward(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
            y, after = self.layer(x, states if len(states) > 1 else states[0])
            return (self.head(y), *(after if isinstance(after, tuple) else (after,)))

    return Model()


def models(folder: Path, kind: str, states: int) -> None:
    import torch

    from export.foreign.contract import Names
    from firmware_sim.targets import get_target
    from realm_edge.app.graphs import compile_graph
    from realm_edge.progress import Silent

    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "rows.npz", x=rows()[0])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch_model(kind)
    x, y = (torch.from_numpy(each[:3000]).reshape(30, 100, -1).transpose(0, 1) for each in rows())
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        loss = ((model(x, *[torch.zeros(1, 30, UNITS)] * states)[0][30:] - y[30:]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    w = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    torch.save(model.state_dict(), folder / f"{kind}.pt")
    names = {"wi": "weight_ih", "wh": "weight_hh", "bi": "bias_ih", "bh": "bias_hh"}
    layer = {new: w[f"layer.{old}_l0"] for new, old in names.items()}
    np.savez(folder / f"{kind}.npz", **layer, wo=w["head.weight"], bo=w["head.bias"])
    held = [f"s{k}" for k in range(states)]
    ends = {"input_names": ["x", *(f"{n}_in" for n in held)], "output_names": ["y", *(f"{n}_out" for n in held)]}
    zeros = (torch.zeros(1, 1, INPUTS), *[torch.zeros(1, 1, UNITS)] * states)
    torch.onnx.export(model.eval(), zeros, str(folder / f"{kind}.onnx"), dynamo=False, **ends)
    part, out = get_target("cortex-m4"), folder / kind
    made = compile_graph(folder / f"{kind}.onnx", Names(), folder / "rows.npz", (part,), out, f"realm_{kind}", 50.0, "int8", Silent())
    one, error = made.targets["cortex-m4"], made.int8_against_float
    assert error is not None
    print(f"{kind}: NRMSE {100 * error.nrmse:.2g} %, {one}")


def weights(folder: Path, kind: str) -> tuple[list[Floats], list[Floats]]:
    """As Keras has them: of the layer, of the head."""
    w = np.load(folder / f"{kind}.npz")
    if kind == "gru":
        order = np.r_[UNITS : 2 * UNITS, :UNITS, 2 * UNITS : 3 * UNITS]
        return [w["wi"][order].T, w["wh"][order].T, np.stack([w["bi"][order], w["bh"][order]])], [w["wo"].T, w["bo"]]
    return [w["wi"].T, w["wh"].T, w["bi"] + w["bh"]], [w["wo"].T, w["bo"]]


def keras_layer(folder: Path, kind: str) -> Any:
    """The layer and its head, for a sequence of one."""
    import keras

    given = keras.Input(batch_shape=(1, 1, INPUTS))
    layer = keras.layers.GRU(UNITS, reset_after=True, unroll=True) if kind == "gru" else keras.layers.LSTM(UNITS)
    model = keras.Model(given, keras.layers.Dense(OUTPUTS)(layer(given)))
    of_layer, of_head = weights(folder, kind)
    model.layers[1].set_weights(of_layer)
    model.layers[2].set_weights(of_head)
    return model


def tflm(folder: Path, kind: str, states: int) -> None:
    """The layer as it is, and a step whose states its caller keeps."""
    import tensorflow as tf
    from tflite_micro.python.tflite_micro import runtime

    x = rows()[0]

    def operators(content: bytes) -> dict[str, int]:
        return dict(Counter(each["op_name"] for each in tf.lite.Interpreter(model_content=content)._get_ops_details()))

    def scaled(details: Any) -> tuple[float, int]:
        found = details["quantization_parameters"]
        return (float(found["scales"][0]), int(found["zero_points"][0])) if len(found["scales"]) else (1.0, 0)

    exact = reference(folder, kind)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras_layer(folder, kind))
    content = converter.convert()  # in float: TensorFlow 2.21 ends by a signal where it calibrates the LSTM layer
    interpreter, decoded = runtime.Interpreter.from_bytes(content, arena_size=200_000), []
    for row in x[SCORED]:
        interpreter.set_input(row[None, None], 0)
        interpreter.invoke()
        decoded.append(interpreter.get_output(0)[0].copy())
    print(f"{kind} layer, float, one step a call: {len(content)} bytes, {nrmse(np.array(decoded), exact)}, {operators(content)}")

    (wi, wh, *bias), (wo, bo) = ([tf.constant(each, tf.float32) for each in part] for part in weights(folder, kind))

    def step(row: Any, *before: Any) -> tuple[Any, ...]:
        if kind == "gru":
            (az, ar, an), (bz, br, bn) = (
                tf.split(tf.matmul(v, m) + bias[0][k], 3, 1) for k, (v, m) in enumerate(((row, wi), (before[0], wh)))
            )
            z = tf.sigmoid(az + bz)
            h = (1 - z) * tf.tanh(an + tf.sigmoid(ar + br) * bn) + z * before[0]
            return tf.matmul(h, wo) + bo, h
        i, f, g, o = tf.split(tf.matmul(row, wi) + tf.matmul(before[0], wh) + bias[0], 4, 1)
        c = tf.sigmoid(f) * before[1] + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return tf.matmul(h, wo) + bo, h, c

    function = tf.function(lambda *v: dict(zip("yhc", step(*v), strict=False)))
    concrete = function.get_concrete_function(*[tf.TensorSpec((1, n), tf.float32) for n in (INPUTS, *[UNITS] * states)])
    seen, before = [], [np.zeros((1, UNITS), np.float32)] * states
    for row in x[:600]:
        seen.append([row[None], *before])
        before = [each.numpy() for each in step(tf.constant(row[None]), *map(tf.constant, before))[1:]]
    sets = tf.lite.OpsSet
    modes = {
        "int8": (np.int8, sets.TFLITE_BUILTINS_INT8),
        "int16x8": (np.int16, sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8),
    }
    for mode, (dtype, supported) in modes.items():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], function)
        converter.optimizations, converter.representative_dataset = [tf.lite.Optimize.DEFAULT], lambda: iter(seen)
        converter.target_spec.supported_ops = [supported]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(dtype)
        content = converter.convert()
        lite = tf.lite.Interpreter(model_content=content)
        inputs, outputs = ([tuple(each["shape"]) for each in side] for side in (lite.get_input_details(), lite.get_output_details()))
        interpreter, best = runtime.Interpreter.from_bytes(content, arena_size=200_000), np.inf
        held, at = (
            [k for k, shape in enumerate(outputs) if shape[1] == UNITS],
            next(k for k, s in enumerate(outputs) if s[1] == OUTPUTS),
        )
        for order in itertools.permutations(held):  # names of states are lost: the pairing that decodes best
            states_now, decoded = [np.zeros((1, UNITS))] * states, []
            for row in x[SCORED]:
                values = iter(states_now)
                for k, shape in enumerate(inputs):
                    scale, zero = scaled(interpreter.get_input_details(k))
                    value = row[None] if shape[1] == INPUTS else next(values)
                    limits = np.iinfo(dtype)
                    interpreter.set_input(np.clip(np.rint(value / scale) + zero, limits.min, limits.max).astype(dtype), k)
                interpreter.invoke()
                found = []
                for k in (at, *order):
                    scale, zero = scaled(interpreter.get_output_details(k))
                    found.append((interpreter.get_output(k).astype(float) - zero) * scale)
                decoded.append(found[0][0])
                states_now = found[1:]
            error = np.array(decoded)
            best = min(best, float(np.mean((error - exact) ** 2 / exact.var(axis=0))))
        print(f"{kind} step, {mode}: {len(content)} bytes, NRMSE {100 * np.sqrt(best):.2g} %, {operators(content)}")
        interpreter.print_allocations()


def executorch(folder: Path, kind: str, states: int) -> None:
    """A state that is a buffer of the module, in float with the portable operators; and what its backend for Cortex-M quantises."""
    import torch
    from executorch.backends.cortex_m.passes.cortex_m_pass_manager import CortexMPassManager
    from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
    from executorch.exir import EdgeCompileConfig, EdgeProgramManager, to_edge
    from executorch.runtime import Runtime
    from torch.export import export
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    torch.set_grad_enabled(False)
    x = torch.from_numpy(rows()[0])

    class Kept(torch.nn.Module):
        def __init__(self, model: Any, states: int) -> None:
            super().__init__()
            self.model, self.names = model, [f"s{k}" for k in range(states)]
            for name in self.names:
                self.register_buffer(name, torch.zeros(1, 1, UNITS))

        def forward(self, row: torch.Tensor) -> torch.Tensor:
            result, *after = self.model(row, *(getattr(self, name) for name in self.names))
            for name, value in zip(self.names, after, strict=True):
                getattr(self, name).copy_(value)
            return result

    exact, model, zeros = reference(folder, kind), torch_model(kind), [torch.zeros(1, 1, UNITS)] * states
    model.load_state_dict(torch.load(folder / f"{kind}.pt"))
    model.eval().requires_grad_(False)
    program = to_edge(export(Kept(model, states).eval(), (torch.zeros(1, 1, INPUTS),))).to_executorch()
    method = Runtime.get().load_program(program.buffer).load_method("forward")
    decoded = np.array([method.execute([row[None, None].contiguous()])[0].ravel().numpy().copy() for row in x[SCORED]])
    planned = list(program.executorch_program.execution_plan[0].non_const_buffer_sizes)
    print(f"{kind}, float, state in a buffer: {len(program.buffer)} bytes, planned {planned}, {nrmse(decoded, exact)}")

    given = (torch.zeros(1, 1, INPUTS), *zeros)
    prepared, now = prepare_pt2e(export(model, given).module(check_guards=False), CortexMQuantizer()), zeros
    for row in x[:600]:
        _, *now = prepared(row[None, None], *now)
    quantised, now, results = convert_pt2e(prepared), zeros, []
    for row in x[SCORED]:
        result, *now = quantised(row[None, None], *now)
        results.append(result.ravel().numpy())
    config = EdgeCompileConfig(_check_ir_validity=False)
    passed = CortexMPassManager(to_edge(export(quantised, given), compile_config=config).exported_program()).transform()
    found = Counter(str(n.target).split(":")[1].split(">")[0].strip() for n in passed.graph.nodes if "EdgeOpOverload" in str(n.target))
    made = EdgeProgramManager(passed, compile_config=config).to_executorch()
    print(f"{kind}, quantised for Cortex-M: {len(made.buffer)} bytes, {nrmse(np.array(results), exact)}, {dict(found)}")


def emlearn(folder: Path, kind: str, states: int) -> None:
    import emlearn as package
    import keras

    layer = (keras.layers.GRU if kind == "gru" else keras.layers.LSTM)(UNITS)
    try:
        package.convert(keras.Sequential([keras.Input((1, INPUTS)), layer, keras.layers.Dense(OUTPUTS)]))
        print(f"{kind}: converted")
    except NotImplementedError as error:
        print(f"{kind}: {error}")


if __name__ == "__main__":
    made = {"models": models, "tflm": tflm, "executorch": executorch, "emlearn": emlearn}[sys.argv[1]]
    for name, number in STATES.items():
        made(Path(sys.argv[2]), name, number)
