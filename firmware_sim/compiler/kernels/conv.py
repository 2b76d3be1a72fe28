"""The depthwise causal convolution."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from firmware_sim.compiler.kernels.dsp import FLAGS, packed, smlabb, smlatt, sxtb16, symmetric, whole_words
from firmware_sim.compiler.kernels.exact import Exact, peak, stored, width
from firmware_sim.compiler.kernels.fence import fence, pin, with_fences
from firmware_sim.compiler.kernels.helium_conv import vector_convolution
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.kernels.plain import RV32, THUMB1, Plain, computed_plainly, with_plain
from firmware_sim.compiler.kernels.products import sum_bound
from firmware_sim.compiler.kernels.requantise import lifted, requantised16, rounding


@dataclass(frozen=True)
class _Operands:
    """The checked operands; weight is (d, taps), bound that of the sums."""

    x: Value
    state: Value
    weight: NDArray
    bias: NDArray
    mult: NDArray
    k: int
    bound: int


def _operands(node: Node) -> _Operands:
    node.expect(6, 2)
    x = node.tensor(0, "int16", None)
    d = x.shape[0]
    state = node.tensor(1, "int16", None, d)
    weight = np.ascontiguousarray(node.constant(2, "int8", state.shape[0] + 1, d).T)
    bias, mult = node.constant(3, "int32", d), node.constant(4, "int32", d)
    return _Operands(x, state, weight, bias, mult, node.shift(5), sum_bound(weight, x.bound, bias))


def scalar(node: Node) -> Kernel:
    """sat16(round_shift((sum_k w_k v_k + b) * mult, k)), v = [state, x]; the state moves up by one in place."""
    conv = _operands(node)
    weight, k, bound = conv.weight, conv.k, conv.bound
    d, taps = weight.shape
    bias, mult = stored(conv.bias), stored(conv.mult)
    mult_peak = peak(mult)

    def filtered(x: Any, state: Any, weight: Any, bias: Any, mult: Any, i: Any) -> Any:
        window = [*(state[t, i] for t in range(taps - 1)), x[i]]
        acc = T.cast(bias[i], width(bound))
        for t, value in enumerate(window):
            acc = acc + T.cast(value, width(bound)) * T.cast(weight[i, t], width(bound))
        return (Exact(acc, bound) * Exact(mult[i], mult_peak)).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((d,), "int16"),
        state: T.Buffer((taps - 1, d), "int16"),
        weight: T.Buffer((d, taps), "int8"),
        bias: T.Buffer((d,), bias.dtype.name),
        mult: T.Buffer((d,), mult.dtype.name),
        y: T.Buffer((d,), "int16"),
    ):
        for i in range(d):
            y[i] = filtered(x, state, weight, bias, mult, i)
            for t in T.unroll(taps - 2):
                state[t, i] = state[t + 1, i]
            state[taps - 2, i] = x[i]

    return _finished(node, conv, kernel, (weight, bias, mult))


def _finished(node: Node, conv: _Operands, kernel: PrimFunc, constants: tuple[NDArray, ...]) -> Kernel:
    """The kernel of a function of x, the state, constants and y."""
    y = node.output(0, "int16", conv.x.shape, 32767)
    after = node.output(1, "int16", conv.state.shape, conv.x.bound)
    pointers: tuple[str | NDArray, ...] = (conv.x.name, conv.state.name, *constants, y.name)
    return Kernel(kernel, pointers, (y, after), {after.name: conv.state.name}, macs=conv.weight.size)


def rv32(node: Node) -> Kernel:
    """The same, with the weights of four taps in a word; plain code where a sum leaves 32 bits."""
    return _by_channels(node, RV32)


def thumb1(node: Node) -> Kernel:
    """The same."""
    return _by_channels(node, THUMB1)


def _by_channels(node: Node, core: Plain) -> Kernel:
    conv = _operands(node)
    if conv.bound >= 2**31:
        return computed_plainly(scalar, core)(node)
    d, taps = conv.weight.shape
    words = -(-taps // 4)
    k, (mult,) = lifted(conv.k, conv.mult)
    weights = np.ascontiguousarray(np.pad(conv.weight, ((0, 0), (0, 4 * words - taps)))).view(np.int32)
    constants = np.concatenate([weights, conv.bias[:, None], mult[:, None]], axis=1)

    def weight(word: Any, t: int) -> Any:
        return T.shift_right(T.shift_left(word, T.int32(24 - 8 * (t % 4))), T.int32(24))

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((d,), "int16"),
        state: T.Buffer((taps - 1, d), "int16"),
        constants: T.Buffer((d, words + 2), "int32"),
        y: T.Buffer((d,), "int16"),
    ):
        word = T.alloc_buffer((words,), "int32")
        value = T.alloc_scalar("int32")
        acc = T.alloc_scalar("int32")
        for i in range(d):
            acc = constants[i, words]
            for t in T.unroll(words):
                word[t] = constants[i, t]
            for t in T.unroll(taps - 1):
                value = core.signed(state[t, i])
                acc = fence(acc + value * weight(word[t // 4], t))
                if t > 0:
                    state[t - 1, i] = T.cast(value, "int16")
            value = core.signed(x[i])
            state[taps - 2, i] = T.cast(value, "int16")
            acc = fence(acc + value * weight(word[(taps - 1) // 4], taps - 1))
            y[i] = T.cast(core.requantised16(Exact(acc, conv.bound), constants[i, words + 1], k), "int16")

    return _finished(node, conv, with_plain(with_fences(kernel)), (constants,))


def dsp(node: Node) -> Kernel:
    """The same for two channels at a time, whose values are words as they lie; plain code where they are not, or a sum leaves 32 bits."""
    return channel_pairs(node, runs=True)


def helium(node: Node) -> Kernel:
    """The same for eight channels at a time."""
    return vector_convolution(node, _operands(node), _finished) or dsp(node)


def dual(node: Node) -> Kernel:
    """The same, in the order that LLVM finds for a core of two instructions a cycle."""
    return channel_pairs(node, runs=False)


def channel_pairs(node: Node, runs: bool) -> Kernel:
    conv = _operands(node)
    if whole_words(conv.x, conv.state) and conv.x.shape[0] % 2 == 0 and conv.bound < 2**31:
        return _by_channel_pairs(node, conv, runs)
    return scalar(node)


def _constants(conv: _Operands, mult: NDArray) -> NDArray[np.int32]:
    """Of two channels: their weights, two taps a word, then their biases and multipliers.

    The bytes of a word belong to the first tap, the second, the first, the second, and to one channel, the same, the other, the same.
    """
    d, taps = conv.weight.shape
    padded = np.pad(conv.weight, ((0, 0), (0, taps % 2)))
    words = padded.reshape(d // 2, 2, -1, 2).transpose(0, 2, 1, 3).reshape(d // 2, -1).view(np.int32)
    return np.concatenate([words, conv.bias.reshape(-1, 2), mult.reshape(-1, 2)], axis=1)


def _by_channel_pairs(node: Node, conv: _Operands, runs: bool) -> Kernel:
    d, taps = conv.weight.shape
    pairs, words = d // 2, -(-taps // 2)
    k, (mult,) = lifted(conv.k, conv.mult)
    constants = _constants(conv, mult)
    per_pair = constants.shape[1]

    def weights(word: Any, t: int) -> Any:
        return sxtb16(word, 8 * (t % 2))

    def requantised(acc: Any, mult: Any, half: Any) -> Any:
        return requantised16(Exact(acc, conv.bound), mult, k, half)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((pairs,), "int32"),
        state: T.Buffer((taps - 1, pairs), "int32"),
        constants: T.Buffer((pairs, per_pair), "int32"),
        y: T.Buffer((pairs, 2), "int16"),
    ):
        values = T.alloc_buffer((taps,), "int32")
        ws = T.alloc_buffer((words,), "int32")
        acc = T.alloc_buffer((2,), "int32")
        ms = T.alloc_buffer((2,), "int32")
        half = T.alloc_scalar("int32")
        half = pin(T.int32(rounding(k)))
        for i in range(pairs):
            for t in T.unroll(taps - 1):
                values[t] = state[t, i]
            values[taps - 1] = x[i]
            for n in T.unroll(words):
                ws[n] = constants[i, n]
            for r in T.unroll(2):
                acc[r] = constants[i, words + r]
            if runs:
                for r in T.unroll(2):
                    acc[r] = fence(acc[r])
            for t in T.unroll(taps):
                acc[0] = smlabb(values[t], weights(ws[t // 2], t), acc[0])
                acc[1] = smlatt(values[t], weights(ws[t // 2], t), acc[1])
            for t in T.unroll(taps - 1):
                state[t, i] = values[t + 1]
            for r in T.unroll(2):
                ms[r] = constants[i, words + 2 + r]
            if runs:
                for r in T.unroll(2):
                    acc[r] = fence(acc[r])
            acc[0] = symmetric(packed(requantised(acc[0], ms[0], half), requantised(acc[1], ms[1], half)))
            y[i, 0] = T.cast(acc[0], "int16")
            y[i, 1] = T.cast(acc[0] >> 16, "int16")

    finished = _finished(node, conv, with_fences(kernel), (constants,))
    return replace(finished, flags=FLAGS)
