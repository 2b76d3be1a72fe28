"""The channel tokenizer: a convolution over time whose weights all channels share, and channel attention with a leaky mean."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored, width
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.linear import ROWS, sum_bound


def q_channel_conv(node: Node) -> Kernel:
    """sat16(round_shift((sum over taps and kinds of w v + b) * mult, k)) a channel and map; the state moves up by one in place."""
    node.expect(6, 2)
    x = node.tensor(0, "int8", None)
    n = x.shape[0]
    state = node.tensor(1, "int8", None, n)
    taps = state.shape[0] + 1
    weight = node.constant(2, "int8", None, None)
    terms, maps = weight.shape
    kinds = terms // taps
    if terms % taps or n % kinds:
        raise node.refuse(f"its {terms} weights a map fit no {taps} taps of {n} values")
    channels = n // kinds
    bias, mult, k = stored(node.constant(3, "int32", maps)), stored(node.constant(4, "int32", maps)), node.shift(5)
    bound = sum_bound(weight.T, x.bound, bias)
    acc_type = width(bound)
    rows = min(ROWS, maps)
    blocks = -(-maps // rows)

    def product(value: Any, factor: Any) -> Any:
        return T.cast(value, acc_type) * T.cast(factor, acc_type)

    def requantised(acc: Any, factor: Any) -> Any:
        return (Exact(acc, bound) * Exact(factor, peak(mult))).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int8"),
        state: T.Buffer((taps - 1, n), "int8"),
        weight: T.Buffer((terms, maps), "int8"),
        bias: T.Buffer((maps,), bias.dtype.name),
        mult: T.Buffer((maps,), mult.dtype.name),
        y: T.Buffer((channels * maps,), "int16"),
    ):
        acc = T.alloc_buffer((rows,), acc_type)
        for c in range(channels):
            for block in range(blocks):
                first: T.let = T.min(block * rows, maps - rows)
                for r in T.unroll(rows):
                    acc[r] = T.cast(bias[first + r], acc_type)
                for t in range(taps - 1):
                    for kind in range(kinds):
                        for r in T.unroll(rows):
                            acc[r] = acc[r] + product(state[t, kind * channels + c], weight[t * kinds + kind, first + r])
                for kind in range(kinds):
                    for r in T.unroll(rows):
                        acc[r] = acc[r] + product(x[kind * channels + c], weight[(taps - 1) * kinds + kind, first + r])
                for r in T.unroll(rows):
                    y[c * maps + first + r] = requantised(acc[r], mult[first + r])
        for i in range(n):
            for t in T.unroll(taps - 2):
                state[t, i] = state[t + 1, i]
            state[taps - 2, i] = x[i]

    y = node.output(0, "int16", (channels * maps,), 32767)
    after = node.output(1, "int8", state.shape, x.bound)
    pointers = (x.name, state.name, np.ascontiguousarray(weight), bias, mult, y.name)
    return Kernel(kernel, pointers, (y, after), {after.name: state.name}, macs=channels * weight.size)


def q_channel_attention(node: Node) -> Kernel:
    """Leaky mean of each channel's maps, in place, and a convolution over the channels, whose window slides along as means are formed."""
    node.expect(8, 2)
    x = node.tensor(0, "int16", None)
    mean = node.tensor(1, "int32", None)
    channels = mean.shape[0]
    if x.shape[0] % channels:
        raise node.refuse(f"its {x.shape[0]} values are no whole number of maps of {channels} channels")
    maps = x.shape[0] // channels
    f, leak, k_pooled = node.shift(2), node.shift(3), node.shift(4)
    weight = stored(node.constant(5, "int8", None))
    reach = len(weight)
    if reach % 2 == 0:
        raise node.refuse(f"its convolution has {reach} taps, which have no middle")
    mult, k = node.scalar(6, 0), node.shift(7)
    beside = reach // 2
    sum_limit = maps * x.bound
    mean_limit = sum_limit << f  # a mean never leaves the range of what enters it
    if mean_limit >= 2**31:
        raise node.refuse(f"its mean may reach 2^{mean_limit.bit_length() - 1}, beyond int32", "use fewer fraction bits")
    pooled_limit = Exact(T.int32(0), mean_limit).round_shift(k_pooled).clip(32767).bound
    acc_limit = int(np.sum(np.abs(weight.astype(np.int64)))) * pooled_limit
    acc_type = width(acc_limit)

    def leaked(before: Any, total: Any) -> Any:
        old = Exact(before, mean_limit)
        return (old + (Exact(total, sum_limit) * (1 << f) - old).round_shift(leak)).to("int32")

    def pooled(value: Any) -> Any:
        return Exact(value, mean_limit).round_shift(k_pooled).clip(32767).to("int32")

    def requantised(window: Any, weight: Any) -> Any:
        acc = T.cast(T.int32(0), acc_type)
        for j in range(reach):
            acc = acc + T.cast(window[j], acc_type) * T.cast(weight[j], acc_type)
        return (Exact(acc, acc_limit) * mult).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((channels * maps,), "int16"),
        mean: T.Buffer((channels,), "int32"),
        weight: T.Buffer((reach,), weight.dtype.name),
        y: T.Buffer((channels,), "int16"),
    ):
        window = T.alloc_buffer((reach,), "int32")
        total = T.alloc_scalar("int32")
        for j in T.unroll(reach):
            window[j] = 0
        for c in range(channels + beside):
            for j in T.unroll(reach - 1):
                window[j] = window[j + 1]
            window[reach - 1] = 0
            if c < channels:
                total = 0
                for m in range(maps):
                    total = total + T.cast(x[c * maps + m], "int32")
                mean[c] = leaked(mean[c], total)
                window[reach - 1] = pooled(mean[c])
            if c >= beside:
                y[c - beside] = requantised(window, weight)

    y = node.output(0, "int16", (channels,), 32767)
    after = node.output(1, "int32", (channels,), mean_limit)
    return Kernel(kernel, (x.name, mean.name, weight, y.name), (y, after), {after.name: mean.name}, macs=channels * reach)


def q_channel_gate(node: Node) -> Kernel:
    """sat8(round_shift(x * gate, k)), one gate a channel."""
    node.expect(3, 1)
    x = node.tensor(0, "int16", None)
    gate = node.tensor(1, "int16", None)
    n, channels, k = x.shape[0], gate.shape[0], node.shift(2)
    if n % channels:
        raise node.refuse(f"its {n} values are no whole number of maps of {channels} channels")
    maps = n // channels

    def gated(value: Any, factor: Any) -> Any:
        return (Exact(value, x.bound) * Exact(factor, gate.bound)).round_shift(k).saturate(8)

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((n,), "int16"), gate: T.Buffer((channels,), "int16"), y: T.Buffer((n,), "int8")):
        for c in range(channels):
            for m in range(maps):
                y[c * maps + m] = gated(x[c * maps + m], gate[c])

    y = node.output(0, "int8", (n,), 127)
    return Kernel(kernel, (x.name, gate.name, y.name), (y,))
