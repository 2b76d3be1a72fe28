"""Products with constant matrices: MatMul, Gemm, convolutions and means, as linear layers of a vector."""

from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from export.foreign.tape import Blocked, Ids, Tape

MOST_LAYERS = 64  # that one node becomes
MOST_WEIGHTS = 1 << 22  # of one layer; no part's flash holds a half of it
Floats = NDArray[np.float64]


def linear(tape: Tape, name: str, x: Ids, weight: ArrayLike, bias: ArrayLike = 0.0) -> Ids:
    """x W + b of a vector x (in,), W (in, out), b (out,)."""
    weight = np.asarray(weight, np.float64)
    bias = np.broadcast_to(np.asarray(bias, np.float64), weight.shape[1:])
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise Blocked("its weights are not all finite", "train and export it again")
    if weight.size > MOST_WEIGHTS:
        raise Blocked(f"it has {weight.size:,} weights", f"export a layer of at most {MOST_WEIGHTS:,}")
    still = x < 0
    if still.any():
        bias = bias + tape.constant_values(x[still]) @ weight[still]
        x, weight = x[~still], weight[~still]
        if not len(x):
            raise Blocked("nothing that changes enters it", "export the graph with constants folded")
    return tape.add("linear", weight.shape[1], name, x, weight=weight, bias=bias).ids


def matmul(tape: Tape, name: str, a: Ids | Floats, b: Ids | Floats) -> Ids:
    """One operand is constant; each row of the other is a layer's input."""
    if a.dtype == b.dtype:
        raise Blocked("it multiplies two matrices that both change from step to step", "use linear attention, or a recurrent layer")
    if b.dtype == np.int64:  # A B = (B' A')'
        turned: Ids = matmul(tape, name, _turned(b), _turned(a))
        return turned if min(a.ndim, b.ndim) == 1 else np.swapaxes(turned, -1, -2)
    matrix, rows = np.asarray(b[:, None] if b.ndim == 1 else b, np.float64), np.asarray(a[None] if a.ndim == 1 else a, np.int64)
    if rows.shape[-1] != matrix.shape[-2]:
        raise Blocked(f"its operands are {list(a.shape)} and {list(b.shape)}", "export it again")
    lead = np.broadcast_shapes(rows.shape[:-2], matrix.shape[:-2])
    rows, matrix = np.broadcast_to(rows, (*lead, *rows.shape[-2:])), np.broadcast_to(matrix, (*lead, *matrix.shape[-2:]))
    _see_layers(prod(rows.shape[:-1]))
    result = np.empty((*rows.shape[:-1], matrix.shape[-1]), np.int64)
    for at in np.ndindex(*rows.shape[:-1]):
        result[at] = linear(tape, name, rows[at], matrix[at[:-1]])
    result = result[..., 0, :] if a.ndim == 1 else result
    return result[..., 0] if b.ndim == 1 else result


def _turned(each: Ids | Floats) -> Ids | Floats:
    return np.swapaxes(each, -1, -2) if each.ndim > 1 else each


def conv(tape: Tape, name: str, x: Ids, weight: Floats, bias: ArrayLike, settings: dict[str, list[int]], groups: int) -> Ids:
    """ONNX's Conv of x (1, channels, ...) with a constant kernel (out, channels / groups, ...): a layer for each place of the result.

    Args:
        settings: "strides", "dilations" and "pads", as in ONNX.
    """
    sizes = weight.shape[2:]
    if len(x) != 1 or x.ndim != weight.ndim or x.shape[1] != weight.shape[1] * groups or len(weight) % groups:
        raise Blocked(f"it takes {list(x.shape)} with a kernel of {list(weight.shape)}", "export a step of one recording")
    pads = [(0, 0), *zip(settings["pads"][: len(sizes)], settings["pads"][len(sizes) :], strict=True)]
    padded = np.pad(x[0], pads, constant_values=int(tape.constant_ids(0.0)))
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, settings["dilations"], strict=True)]
    places = [(n - r) // stride + 1 for n, r, stride in zip(padded.shape[1:], reach, settings["strides"], strict=True)]
    if min(places, default=1) < 1:
        raise Blocked("its kernel is longer than its input", "export it again")
    _see_layers(prod(places))
    outputs, taken = len(weight), weight.shape[1]
    dense = np.zeros((x.shape[1], *sizes, outputs))
    for group in range(groups):
        into, out = slice(group * taken, (group + 1) * taken), slice(group * (outputs // groups), (group + 1) * (outputs // groups))
        dense[into, ..., out] = np.moveaxis(weight[out], 0, -1)
    result = np.empty((outputs, *places), np.int64)
    for at in np.ndindex(*places):
        window = tuple(
            slice(k * stride, k * stride + r, dilation)
            for k, stride, r, dilation in zip(at, settings["strides"], reach, settings["dilations"], strict=True)
        )
        patch = padded[(slice(None), *window)].reshape(-1)
        kept = np.flatnonzero(dense.reshape(len(patch), -1).any(axis=1))
        result[(slice(None), *at)] = linear(tape, name, patch[kept], dense.reshape(len(patch), -1)[kept], bias)
    return result[None]


def reduced(tape: Tape, name: str, x: Ids, axes: tuple[int, ...], keepdims: bool, gain: float | None) -> Ids:
    """Sums over axes, each times ``gain``; None for means."""
    axes = tuple(sorted(axis % x.ndim for axis in axes)) or tuple(range(x.ndim))
    count = prod(x.shape[axis] for axis in axes)
    rows = np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim)).reshape(-1, count)
    weight = np.full((count, 1), 1 / count if gain is None else gain)
    _see_layers(len(rows))
    made = np.array([linear(tape, name, row, weight)[0] for row in rows])
    return made.reshape([1 if k in axes else n for k, n in enumerate(x.shape) if keepdims or k not in axes])


def _see_layers(count: int) -> None:
    if count > MOST_LAYERS:
        raise Blocked(f"it takes {count:,} rows", f"export a step of one moment, with at most {MOST_LAYERS} rows")
