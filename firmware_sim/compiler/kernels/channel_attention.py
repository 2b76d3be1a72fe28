"""A leaky mean of each channel's maps, and a convolution over the channels."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, stored, width
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
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
