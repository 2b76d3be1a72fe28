"""ONNX's GRU, LSTM and RNN of one step, and linear attention and causal convolution with a state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.foreign.elementwise import UNARY, binary, unary
from export.foreign.linear import linear
from export.foreign.tape import Blocked, Ids, Tape

Floats = NDArray[np.float64]
_STEP = "export a step: a sequence of one, of one recording, in one direction"


def gru(tape: Tape, name: str, x: Ids, weights: Sequence[Floats | None], h: Any, attributes: dict[str, Any]) -> tuple[Ids, Ids]:
    """Y and Y_h. ``weights``: W (1, 3 width, in), R (1, 3 width, width) and B (1, 6 width), gates in ONNX's order z, r, h."""
    w, r, b, width = _weights(weights, 3)
    row, hidden = _row(x, attributes), _state(h, width)
    order = np.r_[width : 2 * width, :width, 2 * width : 3 * width]  # to torch's r, z, n
    acts = _activations(attributes, ["Sigmoid", "Tanh"])
    if attributes.get("linear_before_reset", 0) and acts is None:
        entering, staying = (linear(tape, name, v, m[order].T, bias[order]) for v, m, bias in ((row, w, b[0]), (hidden, r, b[1])))
        made = tape.add("gru", width, name, entering, staying, hidden, memories=((hidden, 2),))
        return _shaped(made.ids)
    f, g = acts or ("Sigmoid", "Tanh")
    z_r = np.r_[: 2 * width]
    sums = _sum(tape, name, linear(tape, name, row, w[z_r].T, (b[0] + b[1])[z_r]), linear(tape, name, hidden, r[z_r].T))
    z, reset = np.split(unary(tape, name, f, sums), 2)
    last = np.r_[2 * width : 3 * width]
    entering = linear(tape, name, row, w[last].T, b[0][last])
    if attributes.get("linear_before_reset", 0):
        staying = binary(tape, name, "Mul", reset, linear(tape, name, hidden, r[last].T, b[1][last]))
    else:
        staying = linear(tape, name, binary(tape, name, "Mul", reset, hidden), r[last].T, b[1][last])
    n = unary(tape, name, g, _sum(tape, name, entering, staying))
    away = binary(tape, name, "Sub", hidden, n)
    return _shaped(_sum(tape, name, n, binary(tape, name, "Mul", z, away)))


def lstm(
    tape: Tape, name: str, x: Ids, weights: Sequence[Floats | None], states: Sequence[Any], attributes: dict[str, Any]
) -> tuple[Ids, ...]:
    """Y, Y_h and Y_c. Gates in ONNX's order i, o, f, c."""
    w, r, b, width = _weights(weights, 4)
    if len(weights) > 3 and weights[3] is not None and np.any(weights[3]):
        raise Blocked("it has peepholes", "train it without")
    if attributes.get("input_forget", 0):
        raise Blocked("it couples input and forget gates", "train it with gates of their own")
    row, hidden, cell = _row(x, attributes), _state(states[0], width), _state(states[1], width)
    i, o, f, c = (np.r_[k * width : (k + 1) * width] for k in range(4))
    order = np.concatenate([i, f, c, o])  # torch's i, f, g, o
    acts = _activations(attributes, ["Sigmoid", "Tanh", "Tanh"])
    entering, staying = (linear(tape, name, v, m[order].T, bias[order]) for v, m, bias in ((row, w, b[0]), (hidden, r, b[1])))
    if acts is None:
        made = tape.add("lstm", width, name, entering, staying, hidden, cell, memories=((hidden, 2), (cell, 3)))
        second = tape.add("second", width, name, of=made)
        return (*_shaped(made.ids), second.ids.reshape(1, 1, -1))
    sums = np.split(_sum(tape, name, entering, staying), 4)
    i, f, g, o = (unary(tape, name, acts[1] if k == 2 else acts[0], part) for k, part in enumerate(sums))
    new = _sum(tape, name, binary(tape, name, "Mul", f, cell), binary(tape, name, "Mul", i, g))
    return (*_shaped(binary(tape, name, "Mul", o, unary(tape, name, acts[2], new))), new.reshape(1, 1, -1))


def rnn(tape: Tape, name: str, x: Ids, weights: Sequence[Floats | None], h: Any, attributes: dict[str, Any]) -> tuple[Ids, Ids]:
    """Y and Y_h."""
    w, r, b, width = _weights(weights, 1)
    row, hidden = _row(x, attributes), _state(h, width)
    sums = _sum(tape, name, linear(tape, name, row, w.T, b[0] + b[1]), linear(tape, name, hidden, r.T))
    acts = _activations(attributes, ["Tanh"]) or ("Tanh",)
    return _shaped(unary(tape, name, acts[0], sums))


def linear_attention(tape: Tape, name: str, q: Ids, k: Ids, v: Ids, past: Any, decay: Any, attributes: dict[str, Any]) -> tuple[Ids, Ids]:
    """The output (1, 1, q_heads * d_v) and the present state (1, kv_heads, d_k, d_v) of opset 27's LinearAttention."""
    rule = attributes.get("update_rule", "gated_delta")
    if rule != "gated":
        fades = {"linear": "its state never fades, and leaves any range", "delta": "its state is corrected by what it holds"}
        raise Blocked(f"its rule is '{rule}': {fades.get(rule, fades['delta'])}", "use the rule 'gated'")
    heads, readers = attributes["kv_num_heads"], attributes["q_num_heads"]
    if heads < 1 or readers < heads or readers % heads or q.shape[-1] % readers or k.shape[-1] % heads or v.shape[-1] % heads:
        raise Blocked(f"{readers} heads of {q.shape[-1]} queries and {heads} of {k.shape[-1]} keys do not go together", "export it again")
    d_k, d_v = k.shape[-1] // heads, v.shape[-1] // heads
    sized = q.size == readers * d_k and k.size == heads * d_k and v.size == heads * d_v
    if not sized or not _changes(past) or past.size != heads * d_k * d_v:
        raise Blocked("it takes more than one moment, or its past state is no state of the graph", _STEP)
    # What reads the state has a limit of its own, which only a table keeps to.
    queries = np.concatenate([_tabulated(tape, name, part) for part in np.split(q.ravel(), readers)])
    if _changes(decay):
        gate = unary(tape, name, "Exp", decay.ravel())
    else:
        if decay is None:
            raise Blocked("its rule is 'gated', and it has no decay", "give it one")
        held = np.exp(np.asarray(decay, np.float64).ravel())
        gate = tape.add("affine", len(held), name, np.resize(k.ravel(), len(held)), gain=np.zeros(len(held)), offset=held).ids
    if gate.size not in (heads, heads * d_k):
        raise Blocked(f"it has {gate.size} decays for {heads} heads of {d_k} keys", "export one for each head, or for each key")
    state = past.reshape(heads, d_k, d_v).transpose(0, 2, 1).ravel()
    scale = float(attributes.get("scale", 0.0)) or d_k**-0.5
    about = {"heads": (heads, d_v, d_k), "scale": scale, "memories": ((state, 4),)}
    made = tape.add("attention", readers * d_v, name, queries, k.ravel(), v.ravel(), gate, state, **about)
    second = tape.add("second", state.size, name, of=made)
    present = second.ids.reshape(heads, d_v, d_k).transpose(0, 2, 1)[None]
    return made.ids.reshape(1, 1, -1), present


def causal_conv(tape: Tape, name: str, x: Ids, weight: Floats, bias: Floats | None, past: Any, activation: str) -> tuple[Ids, Ids]:
    """The output (1, channels, 1) and the present state (1, channels, taps - 1) of opset 27's CausalConvWithState."""
    channels, _, taps = weight.shape
    if x.shape != (1, channels, 1) or not _changes(past) or past.shape != (1, channels, taps - 1) or taps < 2:
        raise Blocked("it takes more than one moment, or its past state is no state of the graph", _STEP)
    plus = np.zeros(channels) if bias is None else bias
    y = depthwise(tape, name, np.concatenate([past, x], axis=2)[0].T, weight[:, 0].T, plus)
    if activation in ("silu", "swish"):
        y = binary(tape, name, "Mul", y, unary(tape, name, "Sigmoid", y))
    return y.reshape(1, channels, 1), np.concatenate([past[:, :, 1:], x], axis=2)


def depthwise(tape: Tape, name: str, window: Ids, weight: Floats, bias: Floats) -> Ids:
    """Each channel of a window (taps, channels), oldest first, with taps of its own (taps, channels): (channels,).

    All but the newest row is to be a state that holds the rows that came before.
    """
    past = window[:-1].ravel()
    about = {"weight": weight, "bias": bias, "memories": ((past, 1),)}
    return tape.add("conv", window.shape[1], name, window[-1], past, **about).ids


def _tabulated(tape: Tape, name: str, x: Ids) -> Ids:
    made = all(vector.kind == "pointwise" for vector, _ in tape.parts(x))
    return x if made else unary(tape, name, "Identity", x)


def _sum(tape: Tape, name: str, a: Ids, b: Ids) -> Ids:
    return binary(tape, name, "Add", a, b)


def _weights(weights: Sequence[Floats | None], gates: int) -> tuple[Floats, Floats, tuple[Floats, Floats], int]:
    w, r, b = weights[:3]
    if w is None or r is None or len(w) != 1 or w.ndim != 3 or r.ndim != 3:
        raise Blocked("it runs in both directions", _STEP)
    width = r.shape[2]
    if w.shape[1] != gates * width or r.shape[1] != gates * width:
        raise Blocked(f"its weights are {list(w.shape)} and {list(r.shape)}", "export it again")
    both = np.zeros((2, gates * width)) if b is None else np.asarray(b, np.float64).reshape(2, gates * width)
    return w[0], r[0], (both[0], both[1]), width


def _row(x: Ids, attributes: dict[str, Any]) -> Ids:
    if x.size != x.shape[-1]:
        raise Blocked(f"it takes a sequence of {list(x.shape)}", _STEP)
    if attributes.get("direction", "forward") != "forward":
        raise Blocked(f"its direction is '{attributes['direction']}'", _STEP)
    if attributes.get("clip", 0.0):
        raise Blocked("it clips what enters its gates", "train it without")
    return x.ravel()


def _state(value: Any, width: int) -> Ids:
    if not _changes(value):
        raise Blocked("its initial state is no input of the graph", "export it with its state as input and output")
    if value.size != width:
        raise Blocked(f"its initial state has {value.size} elements for a width of {width}", "export it again")
    return np.asarray(value.ravel())


def _changes(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.int64


def _activations(attributes: dict[str, Any], usual: list[str]) -> tuple[str, ...] | None:
    """None where they are the usual ones."""
    found = [each.lower() for each in attributes.get("activations", ())] or [each.lower() for each in usual]
    if attributes.get("activation_alpha") or attributes.get("activation_beta"):
        raise Blocked("its activations have parameters", "use activations without")
    if found == [each.lower() for each in usual]:
        return None
    known = {op.lower(): op for op in UNARY}
    if len(found) != len(usual) or not set(found) <= set(known):
        raise Blocked(f"its activations are {', '.join(found)}", "use functions that ONNX has as operators")
    return tuple(known[each] for each in found)


def _shaped(ids: Ids) -> tuple[Ids, Ids]:
    return ids.reshape(1, 1, 1, -1), ids.reshape(1, 1, -1)
