"""Band power and local motor potential of a bin."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, floor_log2, interpolate, mantissa, width
from firmware_sim.compiler.kernels.interface import Kernel, Node, full_range
from quantization.arithmetic import LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS, log2_table


def scalar(node: Node) -> Kernel:
    """Accumulates a bin; means and logarithms are formed only at its edge. All of the state is updated in place."""
    node.expect(13, 5)
    y = node.tensor(0, "int32", 1, None)
    n = y.shape[1]
    z = node.tensor(1, "int32", None, n)
    bands = z.shape[0]
    phase, total = node.tensor(2, "int32", 1), node.tensor(3, "int32", 1, n)
    power, held = node.tensor(4, "int64", bands, n), node.tensor(5, "int16", n * (1 + bands))
    ticks, mean_mult, k_mean, k_z = node.scalar(6, 1), node.scalar(7, 0), node.shift(8), node.shift(9)
    one, log_offset, k_power = node.scalar(10, 1), node.scalar(11, 0), node.shift(12)
    # What numpy stores in int32 wraps; where a bin can leave int32, the sum is formed in 64 bits and only its storage wraps.
    total_bound = ticks * y.bound if ticks * y.bound < 2**31 else full_range("int32") + y.bound
    total_type = width(total_bound)
    rounded_bound = Exact(T.int32(0), z.bound).round_shift(k_z).bound
    log_bound = ticks * rounded_bound**2 + one
    if log_bound >= 2**SUM_OF_SQUARES_BITS:
        raise node.refuse(f"a bin's power may reach 2^{log_bound.bit_length() - 1}, beyond the table", "quantise with a larger two_z")
    power_bound = (log_bound - one) << k_power  # a leaky sum stays below what its mean would be if every bin were the largest

    def mean_feature(sum_value: Any) -> Any:
        return (Exact(sum_value, total_bound) * mean_mult).round_shift(k_mean).saturate(16)

    def square(value: Any) -> Any:
        v = Exact(value, z.bound).round_shift(k_z)
        return (v * v).to("int64")

    def mean_power(power_value: Any) -> Any:
        return Exact(power_value, power_bound).round_shift(k_power).to("int64")

    def log_feature(table: Any, mean: Any) -> Any:
        v = mean + T.int64(one)
        p = floor_log2(v)
        m = mantissa(v, p)
        low = interpolate(table, 1 << 14, m >> 8, m & 255, 8).round_shift(14 - LOG2_FRACTION_BITS)
        return (Exact(p << LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS << LOG2_FRACTION_BITS) + low - log_offset).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        y: T.Buffer((n,), "int32"),
        z: T.Buffer((bands * n,), "int32"),
        phase: T.Buffer((1,), "int32"),
        total: T.Buffer((n,), "int32"),
        power: T.Buffer((bands * n,), "int64"),
        held: T.Buffer((n * (1 + bands),), "int16"),
        log2: T.Buffer((65,), "int16"),
        valid: T.Buffer((1,), "int32"),
    ):
        phase[0] = phase[0] + 1
        valid[0] = 0
        for i in range(bands * n):
            power[i] = power[i] + square(z[i])
        if phase[0] == ticks:
            for i in range(n):
                held[i] = mean_feature(T.cast(total[i], total_type) + T.cast(y[i], total_type))
                total[i] = 0
            for i in range(bands * n):
                mean: T.let = mean_power(power[i])
                held[n + i] = log_feature(log2, mean)
                power[i] = power[i] - mean
            phase[0] = 0
            valid[0] = 1
        else:
            for i in range(n):
                total[i] = T.cast(T.cast(total[i], total_type) + T.cast(y[i], total_type), "int32")

    outputs = (
        node.output(0, "int16", held.shape, 32767),
        node.output(1, "int32", (1,), 1),
        node.output(2, "int32", (1,), ticks),
        node.output(3, "int32", total.shape, full_range("int32")),
        node.output(4, "int64", power.shape, power_bound),
    )
    states = dict(zip((outputs[i].name for i in (0, 2, 3, 4)), (held.name, phase.name, total.name, power.name), strict=True))
    pointers = (y.name, z.name, phase.name, total.name, power.name, held.name, log2_table(), outputs[1].name)
    return Kernel(kernel, pointers, outputs, states)
