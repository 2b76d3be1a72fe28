"""Band power and local motor potential of a bin."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, floor_log2, interpolate, mantissa
from firmware_sim.compiler.kernels.interface import Kernel, Node
from quantization.arithmetic import LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS, log2_table
from quantization.operators.biquad import STEP

STEP_SHIFT = STEP.bit_length() - 1


def scalar(node: Node) -> Kernel:
    """Accumulates a bin; means and logarithms are formed only at its edge. All of the state is updated in place."""
    node.expect(14, 5)
    y = node.tensor(0, "int32", None, 1)
    n = y.shape[0]
    z = node.tensor(1, "int32", n, None)
    bands = z.shape[1]
    phase, total = node.tensor(2, "int32", 1), node.tensor(3, "int32", n, 1)
    power, held = node.tensor(4, "int64", n, bands), node.tensor(5, "int16", n * (1 + bands))
    ticks, mean_mult, k_mean, k_z, k_p = node.scalar(6, 1), node.scalar(7, 0), node.shift(8), node.shift(9), node.shift(10)
    one, log_offset, k_power = node.scalar(11, 1), node.scalar(12, -(2**15)), node.shift(13)
    counted_bound = Exact(T.int32(0), y.bound).floor_shift(STEP_SHIFT).bound
    total_bound = ticks * counted_bound
    if total_bound >= 2**31:
        raise node.refuse(f"a bin's sum may reach 2^{total_bound.bit_length() - 1}, beyond int32", "quantise with fewer guard bits")
    bin_bound = ticks * Exact(T.int32(0), z.bound).floor_shift(k_z).bound ** 2
    power_bound = bin_bound << k_power  # a leaky sum stays below what its mean would be if every bin were the largest
    log_bound = (bin_bound >> k_p) + 1 + one
    if log_bound >= 2**SUM_OF_SQUARES_BITS:
        raise node.refuse(f"a bin's power may reach 2^{log_bound.bit_length() - 1}, beyond the table", "quantise with a larger two_p")

    def mean_feature(sum_value: Any) -> Any:
        return (Exact(sum_value, total_bound) * mean_mult).round_shift(k_mean).saturate(16)

    def square(value: Any) -> Any:
        v = Exact(value, z.bound).floor_shift(k_z)
        return (v * v).to("int64")

    def mean_power(power_value: Any) -> Any:
        return Exact(power_value, power_bound).round_shift(k_power).to("int64")

    def counted(value: Any) -> Any:
        return Exact(value, y.bound).floor_shift(STEP_SHIFT).value

    def log_feature(table: Any, mean: Any) -> Any:
        v = Exact(mean, bin_bound).round_shift(k_p).to("int64") + T.int64(one)
        p = floor_log2(v)
        m = mantissa(v, p)
        low = interpolate(table, 1 << 14, m >> 8, m & 255, 8).round_shift(14 - LOG2_FRACTION_BITS)
        return (Exact(p << LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS << LOG2_FRACTION_BITS) + low - log_offset).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        y: T.Buffer((n,), "int32"),
        z: T.Buffer((n, bands), "int32"),
        phase: T.Buffer((1,), "int32"),
        total: T.Buffer((n,), "int32"),
        power: T.Buffer((n, bands), "int64"),
        held: T.Buffer((n * (1 + bands),), "int16"),
        log2: T.Buffer((65,), "int16"),
        valid: T.Buffer((1,), "int32"),
    ):
        phase[0] = phase[0] + 1
        valid[0] = 0
        for i in range(n):
            total[i] = total[i] + counted(y[i])
            for b in range(bands):
                power[i, b] = power[i, b] + square(z[i, b])
        if phase[0] == ticks:
            for i in range(n):
                held[i] = mean_feature(total[i])
                total[i] = 0
                for b in range(bands):
                    mean: T.let = mean_power(power[i, b])
                    held[n + b * n + i] = log_feature(log2, mean)
                    power[i, b] = power[i, b] - mean
            phase[0] = 0
            valid[0] = 1

    outputs = (
        node.output(0, "int16", held.shape, 32767),
        node.output(1, "int32", (1,), 1),
        node.output(2, "int32", (1,), ticks),
        node.output(3, "int32", total.shape, total_bound),
        node.output(4, "int64", power.shape, power_bound),
    )
    states = dict(zip((outputs[i].name for i in (0, 2, 3, 4)), (held.name, phase.name, total.name, power.name), strict=True))
    pointers = (y.name, z.name, phase.name, total.name, power.name, held.name, log2_table(), outputs[1].name)
    return Kernel(kernel, pointers, outputs, states)
