"""Band power and local motor potential of a bin, over blocks of samples (:mod:`firmware_sim.compiler.frontend`)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels import emit
from firmware_sim.compiler.kernels.exact import Exact, interpolate
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.kernels.words import Words, upper
from quantization.arithmetic import LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS, log2_table
from quantization.operators.biquad import STEP

STEP_SHIFT = STEP.bit_length() - 1


@dataclass(frozen=True)
class Features:
    """A checked QBinFeatures; symbols are those of :func:`quantization.operators.bin_features.q_bin_features`.

    Attributes:
        y, z: names of the filtered sample and of its bands; absolute values of ``z`` stay below ``z_bound``, of ``y`` below ``y_bound``.
        phase, total, power, held: states; ``outputs`` are their next values and "valid", in the order of the node's outputs.
    """

    y: str
    z: str
    y_bound: int
    z_bound: int
    bands: int
    ticks: int
    mean_mult: int
    k_mean: int
    k_z: int
    k_p: int
    one: int
    log_offset: int
    k_power: int
    phase: Value
    total: Value
    power: Value
    held: Value
    outputs: tuple[Value, ...]

    @property
    def in_place(self) -> dict[str, str]:
        held, _, phase, total, power = (value.name for value in self.outputs)
        return {held: self.held.name, phase: self.phase.name, total: self.total.name, power: self.power.name}

    @property
    def total_bound(self) -> int:
        return self.ticks * Exact(T.int32(0), self.y_bound).floor_shift(STEP_SHIFT).bound

    @property
    def bin_bound(self) -> int:
        """Of the power of one bin."""
        return self.ticks * Exact(T.int32(0), self.z_bound).floor_shift(self.k_z).bound ** 2


def checked(node: Node) -> Features:
    """Check a node.

    Raises:
        UserError: a bin's sum or power that leaves its type.
    """
    node.expect(14, 5)
    y = node.tensor(0, "int32", None, 1)
    n = y.shape[0]
    z = node.tensor(1, "int32", n, None)
    bands = z.shape[1]
    phase, total = node.tensor(2, "int32", 1), node.tensor(3, "int32", n, 1)
    power, held = node.tensor(4, "int64", n, bands), node.tensor(5, "int16", n * (1 + bands))
    ticks, mean_mult, k_mean, k_z, k_p = node.scalar(6, 1), node.scalar(7, 0), node.shift(8), node.shift(9), node.shift(10)
    one, log_offset, k_power = node.scalar(11, 1), node.scalar(12, -(2**15)), node.shift(13)
    found = Features(
        y.name, z.name, y.bound, z.bound, bands, ticks, mean_mult, k_mean, k_z, k_p, one, log_offset, k_power, phase, total, power, held, ()
    )
    if k_z > 30:
        raise node.refuse(f"input 9 is 2^{k_z}, of which nothing of an int32 is left")
    if found.total_bound >= 2**31:
        reach = found.total_bound.bit_length() - 1
        raise node.refuse(f"a bin's sum may reach 2^{reach}, beyond int32", "quantise with fewer guard bits")
    log_bound = (found.bin_bound >> k_p) + 1 + one
    if log_bound >= 2**SUM_OF_SQUARES_BITS:
        raise node.refuse(f"a bin's power may reach 2^{log_bound.bit_length() - 1}, beyond the table", "quantise with a larger two_p")
    outputs = (
        node.output(0, "int16", held.shape, 32767),
        node.output(1, "int32", (1,), 1),
        node.output(2, "int32", (1,), ticks),
        node.output(3, "int32", total.shape, found.total_bound),
        # A leaky sum stays below what its mean would be if every bin were the largest.
        node.output(4, "int64", power.shape, found.bin_bound << k_power),
    )
    return replace(found, outputs=outputs)


class Total:
    """Adds up the filtered samples of one channel in a register."""

    def __init__(self, features: Features, total: emit.Buffer, c: Any) -> None:
        self._features, self._total, self._c = features, total, c
        self._sum = emit.Register("int32", total[c, 0])

    def add(self, y: Any) -> None:
        self._sum.set(self._sum.get() + Exact(y, self._features.y_bound).floor_shift(STEP_SHIFT).value)

    def save(self) -> None:
        emit.store(self._total, (self._c, 0), self._sum.get())


@contextmanager
def power_of(words: Words, features: Features, power: emit.Buffer, c: Any, s: Any) -> Iterator[Callable[[Any], None]]:
    """What adds up the squares of the outputs of section ``s`` of channel ``c`` in registers."""
    total = emit.Register("int64", power[c, s])

    def add(z: Any) -> None:
        v = Exact(z, features.z_bound).floor_shift(features.k_z).value
        total.set(total.get() + words.product(v, v))

    yield add
    emit.store(power, (c, s), total.get())


def _floating(v: Any) -> tuple[Any, Any]:
    """Exponent and mantissa of a positive int64 below 2^48, as :func:`quantization.arithmetic.floating`, without shifts of 64 bits.

    The mantissa is what follows the highest set bit.
    """
    high, low = emit.Register("int32", upper(v)).get(), emit.Register("int32", T.cast(v, "int32")).get()
    zeros = emit.Register("int32", T.clz(T.Select(high != 0, high, low))).get()
    first = T.shift_left(T.reinterpret("uint32", T.Select(high != 0, high, low)), T.cast(zeros, "uint32"))
    rest = T.shift_right(T.reinterpret("uint32", low), T.cast(32 - zeros, "uint32"))
    top = T.bitwise_or(first, T.Select(high != 0, rest, T.uint32(0)))
    return T.Select(high != 0, 63 - zeros, 31 - zeros), T.cast(T.shift_right(top, T.uint32(17)), "int32") - (1 << 14)


def at_edge(features: Features) -> Kernel:
    """Means and logarithms of a bin that is complete."""
    n, bands = features.total.shape[0], features.bands

    def mean_feature(sum_value: Any) -> Any:
        return (Exact(sum_value, features.total_bound) * features.mean_mult).round_shift(features.k_mean).saturate(16)

    def log_feature(table: Any, mean: Any) -> Any:
        v = emit.Register("int64", Exact(mean, features.bin_bound).round_shift(features.k_p).to("int64") + T.int64(features.one)).get()
        p, m = (emit.Register("int32", value).get() for value in _floating(v))
        low = interpolate(table, 1 << 14, m >> 8, T.bitwise_and(m, 255), 8).round_shift(14 - LOG2_FRACTION_BITS)
        whole = Exact(p << LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS << LOG2_FRACTION_BITS)
        return (whole + low - features.log_offset).saturate(16)

    with emit.kernel() as built:
        total = emit.parameter("total", "int32", n, 1)
        power = emit.parameter("power", "int64", n, bands)
        held = emit.parameter("held", "int16", n * (1 + bands))
        log2 = emit.parameter("log2", "int16", 65)
        with emit.loop(n) as c:
            emit.store(held, (c,), mean_feature(total[c, 0]))
            emit.store(total, (c, 0), T.int32(0))
        with emit.loop(bands) as b, emit.loop(n) as c:  # in this order, so that LLVM does not write out the bands
            kept = emit.Register("int64", power[c, b])
            rounded = Exact(kept.get(), features.bin_bound << features.k_power).round_shift(features.k_power)
            mean = emit.Register("int64", rounded.to("int64"))
            emit.store(power, (c, b), kept.get() - mean.get())
            emit.store(held, (n + b * n + c,), log_feature(log2, mean.get()))
    pointers = (features.total.name, features.power.name, features.held.name, log2_table())
    return Kernel(built.function, pointers, features.outputs, features.in_place)
