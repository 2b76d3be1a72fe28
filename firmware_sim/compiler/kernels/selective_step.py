"""One step of the selective state space."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from numpy.typing import NDArray
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from firmware_sim.compiler.kernels.dsp import (
    FLAGS,
    ONES,
    high_word,
    packed,
    qadd16,
    qdadd,
    rounded16,
    smlabb,
    smlabt,
    smlad,
    smlatb,
    smlatt,
    smulbb,
    smultb,
    ssat16,
    symmetric,
    tops,
)
from firmware_sim.compiler.kernels.exact import Exact, peak, stored
from firmware_sim.compiler.kernels.fence import fence, pin, with_fences
from firmware_sim.compiler.kernels.helium_step import vector_step
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor
from firmware_sim.compiler.kernels.plain import RV32, THUMB1, Plain, with_plain
from firmware_sim.compiler.kernels.requantise import LEAST_SHIFT, lifted
from firmware_sim.compiler.kernels.words import sum_of_halves
from quantization.arithmetic import DECAY_SHIFT

# Words of the state, of two rows each, that the loop's body holds at most.
BODY, LONG_BODY = 8, 16


@dataclass(frozen=True)
class _Operands:
    """The checked operands; h is (heads, headdim, d_state), a multiplier (heads,)."""

    x: Value
    b: Value
    c: Value
    decay: Value
    dt: Value
    h: Value
    y_mult: NDArray
    d_mult: NDArray
    k_u: int
    k_y: int

    @property
    def sum_bound(self) -> int:
        """Of what is read out of the state."""
        return self.h.shape[2] * self.c.bound * 32767


def _operands(node: Node) -> _Operands:
    node.expect(10, 2)
    h = node.tensor(5, "int16", None, None, None)
    heads, headdim, d_state = h.shape
    x = node.tensor(0, "int16", heads * headdim)
    b, c = node.tensor(1, "int16", d_state), node.tensor(2, "int16", d_state)
    decay, dt = node.tensor(3, "int16", heads), node.tensor(4, "int16", heads)
    mults = (node.constant(7, "int32", heads), node.constant(8, "int32", heads))
    found = _Operands(x, b, c, decay, dt, h, *mults, node.shift(6), node.shift(9))
    if found.sum_bound >= 2**31:
        raise node.refuse(f"|C| may be {c.bound}: its sum over {d_state} states leaves 32 bits", f"scale C to {65535 // d_state}")
    return found


def scalar(node: Node) -> Kernel:
    """h' = sat16(round_shift(decay * h + u * B, 15)) in place, y from C and h'; see the reference for u and y."""
    step = _operands(node)
    x, dt, k_u, k_y, sum_bound = step.x, step.dt, step.k_u, step.k_y, step.sum_bound
    heads, headdim, d_state = step.h.shape
    y_mult, d_mult = stored(step.y_mult), stored(step.d_mult)

    def entering(dt_value: Any, x_value: Any) -> Any:
        return (Exact(dt_value, dt.bound) * Exact(x_value, x.bound)).round_shift(k_u).clip(32767).to("int32")

    def mixed(decay_value: Any, h_value: Any, u: Any, b_value: Any) -> Any:
        # Of int16 factors with |u| <= 32767 this never leaves 32 bits, rounding included.
        acc = T.cast(decay_value, "int32") * T.cast(h_value, "int32") + u * T.cast(b_value, "int32")
        return Exact((acc + (1 << (DECAY_SHIFT - 1))) >> DECAY_SHIFT, 1 << 16).clip(32767).value

    def read_out(acc: Any, state_gain: Any, x_value: Any, input_gain: Any) -> Any:
        from_state = Exact(acc, sum_bound) * Exact(state_gain, peak(y_mult))
        return (from_state + Exact(x_value, x.bound) * Exact(input_gain, peak(d_mult))).round_shift(k_y).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((heads, headdim), "int16"),
        b: T.Buffer((d_state,), "int16"),
        c: T.Buffer((d_state,), "int16"),
        decay: T.Buffer((heads,), "int16"),
        dt: T.Buffer((heads,), "int16"),
        h: T.Buffer((heads, headdim, d_state), "int16"),
        y_mult: T.Buffer((heads,), y_mult.dtype.name),
        d_mult: T.Buffer((heads,), d_mult.dtype.name),
        y: T.Buffer((heads, headdim), "int16"),
    ):
        acc = T.alloc_scalar("int32")
        for head in range(heads):
            for row in range(headdim):
                u: T.let = entering(dt[head], x[head, row])
                acc = 0
                for n in range(d_state):
                    new: T.let = mixed(decay[head], h[head, row, n], u, b[n])
                    h[head, row, n] = T.cast(new, "int16")
                    acc = acc + new * T.cast(c[n], "int32")
                y[head, row] = read_out(acc, y_mult[head], x[head, row], d_mult[head])

    return _finished(node, step, kernel, y_mult, d_mult)


def _finished(node: Node, step: _Operands, kernel: PrimFunc, y_mult: NDArray, d_mult: NDArray) -> Kernel:
    """The kernel of a function with the operands in their order, then y."""
    y = node.output(0, "int16", step.x.shape, 32767)
    after = node.output(1, "int16", step.h.shape, 32767)
    tensors = (step.x, step.b, step.c, step.decay, step.dt, step.h)
    pointers: tuple[str | NDArray, ...] = (*(value.name for value in tensors), y_mult, d_mult, y.name)
    return Kernel(kernel, pointers, (y, after), {after.name: step.h.name}, macs=3 * prod(step.h.shape))


def dsp(node: Node) -> Kernel:
    """The same by words of two states, two rows at a time, as the reference has it; plain code where the words do not come out even."""
    return step_by_words(node, runs=True, body=BODY)


def dual(node: Node) -> Kernel:
    """The same, in the order that LLVM finds for a core of two instructions a cycle."""
    return step_by_words(node, runs=False, body=LONG_BODY)


def helium(node: Node) -> Kernel:
    """The same by vectors of eight states."""
    return vector_step(node, _operands(node), _finished) or dsp(node)


@dataclass(frozen=True)
class _Rows:
    """How rows are put to LLVM where there are no instructions for pairs of int16.

    Attributes:
        together: rows that share what is loaded of B and C, at most.
        body: states in the loop's body, at most.
        core: its plain code.
    """

    together: int
    body: int
    core: Plain


# ARMv6-M has registers for one row; offsets that reach 16 states save it another.
RV32_ROWS, THUMB1_ROWS = _Rows(4, 4, RV32), _Rows(1, 16, THUMB1)


def rv32(node: Node) -> Kernel:
    """The same as the plain kernel, several rows at a time, with one branch to saturate."""
    return _by_rows(node, RV32_ROWS)


def thumb1(node: Node) -> Kernel:
    """The same, a row at a time and without products of 64 bits."""
    return _by_rows(node, THUMB1_ROWS)


def _by_rows(node: Node, style: _Rows) -> Kernel:
    step, core = _operands(node), style.core
    heads, headdim, d_state = step.h.shape
    rows = divisor(headdim, style.together)
    batch = divisor(d_state, style.body)

    def entering(dt_value: Any, x_value: Any) -> Any:
        return core.rounded16(Exact(dt_value, step.dt.bound) * Exact(x_value, step.x.bound), step.k_u)

    def mixed(decay_value: Any, h_value: Any, u: Any, b_value: Any) -> Any:
        # Of int16 factors with |u| <= 32767 this never leaves 32 bits, rounding included.
        acc = decay_value * core.signed(h_value) + u * b_value
        return fence(core.arithmetic.clipped(core.shifted(acc, DECAY_SHIFT), 32767))

    y_bound = step.sum_bound * peak(step.y_mult) + step.x.bound * peak(step.d_mult)
    halves_fit = step.k_y > 16 and step.y_mult.min() >= 0 and peak(step.y_mult) < 2**16 and y_bound < 2**47 - 2**34

    def read_out(acc: Any, state_gain: Any, x_value: Any, input_gain: Any) -> Any:
        if halves_fit and not core.wide:
            total = Exact(sum_of_halves(acc, state_gain, core.signed(x_value), input_gain), y_bound + 2**16 >> 16)
            return T.cast(fence(core.rounded16(total, step.k_y - 16)), "int16")
        from_state = Exact(core.arithmetic.product(acc, state_gain), step.sum_bound * peak(step.y_mult))
        from_input = Exact(core.arithmetic.product(core.signed(x_value), input_gain), step.x.bound * peak(step.d_mult))
        return T.cast(fence(core.rounded16(from_state + from_input, step.k_y)), "int16")

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((heads, headdim // rows, rows), "int16"),
        b: T.Buffer((d_state,), "int16"),
        c: T.Buffer((d_state,), "int16"),
        decay: T.Buffer((heads,), "int16"),
        dt: T.Buffer((heads,), "int16"),
        h: T.Buffer((heads, headdim // rows, rows, d_state), "int16"),
        y_mult: T.Buffer((heads,), "int32"),
        d_mult: T.Buffer((heads,), "int32"),
        y: T.Buffer((heads, headdim // rows, rows), "int16"),
        bc: T.Buffer((d_state, 2), "int32"),
    ):
        us = T.alloc_buffer((rows,), "int32")
        acc = T.alloc_buffer((rows,), "int32")
        new = T.alloc_buffer((rows,), "int32")
        of_head = T.alloc_scalar("int32")
        of_state = T.alloc_scalar("int32")
        for n in range(d_state):  # one address in place of two, and no sign to extend
            bc[n, 0] = T.cast(b[n], "int32")
            bc[n, 1] = fence(T.cast(c[n], "int32"))
        for head in range(heads):
            of_head = T.cast(decay[head], "int32")
            for block in range(headdim // rows):
                for r in T.unroll(rows):
                    us[r] = fence(entering(dt[head], x[head, block, r]))
                    acc[r] = 0
                for i in range(d_state // batch):
                    for n in T.unroll(batch):
                        of_state = bc[i * batch + n, 0]
                        for r in T.unroll(rows):
                            new[r] = mixed(of_head, h[head, block, r, i * batch + n], us[r], of_state)
                            h[head, block, r, i * batch + n] = T.cast(new[r], "int16")
                        of_state = bc[i * batch + n, 1]
                        for r in T.unroll(rows):
                            acc[r] = fence(acc[r] + new[r] * of_state)
                for r in T.unroll(rows):
                    y[head, block, r] = read_out(acc[r], y_mult[head], x[head, block, r], d_mult[head])

    own = Value(f"{node.outputs[0]}.bc", "int32", (d_state, 2), 32768)
    finished = _finished(node, step, with_plain(with_fences(kernel)), step.y_mult, step.d_mult)
    return replace(finished, pointers=(*finished.pointers, own.name), scratch=(own,))


def step_by_words(node: Node, runs: bool, body: int) -> Kernel:
    """Kernel by words of two states, or the plain one.

    Args:
        runs: loads stay together.
        body: words of the state in the loop's body, at most.
    """
    step = _operands(node)
    _, headdim, d_state = step.h.shape
    by_words = all(value.alignment % 4 == 0 for value in (step.x, step.b, step.c, step.h))
    if by_words and headdim % 2 == 0 and d_state % 2 == 0 and step.k_u <= 30:
        return _of_word_pairs(node, step, runs, body)
    return scalar(node)


def _of_word_pairs(node: Node, step: _Operands, runs: bool, body: int) -> Kernel:
    """Two rows at a time share the words of B and C."""
    heads, headdim, d_state = step.h.shape
    rows, words = headdim // 2, d_state // 2
    batch = divisor(words, body)
    k_u = step.k_u
    k_y, (y_mult, d_mult) = lifted(step.k_y, step.y_mult, step.d_mult)

    def entering(xs: Any, dt_value: Any, ones: Any) -> Any:
        """u of two rows; of int16 factors and k_u <= 30 no sum leaves 32 bits."""
        half = T.int32((1 << k_u) >> 1)
        return symmetric(packed(*(ssat16(mac(xs, dt_value, half) >> T.int32(k_u)) for mac in (smlabb, smlatb))), ones)

    def mixed(h_word: Any, b_word: Any, decay_value: Any, us: Any, row: int, constants: tuple[Any, Any]) -> Any:
        """h' of two states of a row.

        v = decay h + u B never leaves 32 bits, as |u| <= 32767. The upper half of sat(sat(2 v) + 2^15 - 2^16) is round_shift(v, 15) - 1, no
        less than -32768; one too much where 2 v is 2^31 - 2^15 or more, and then 32767. Plus one, saturated: h' in the symmetric range.
        """
        low, high = ((smlabb, smlatb), (smlabt, smlatt))[row]
        less, ones = constants
        first = low(b_word, us, smulbb(h_word, decay_value))
        second = high(b_word, us, smultb(h_word, decay_value))
        return qadd16(tops(qdadd(less, first), qdadd(less, second)), ones)

    def read_out(acc: Any, state_gain: Any, x_value: Any, input_gain: Any) -> Any:
        from_state = Exact(acc, step.sum_bound) * Exact(state_gain, peak(y_mult))
        total = from_state + Exact(x_value, step.x.bound) * Exact(input_gain, peak(d_mult))
        up = max(0, LEAST_SHIFT - k_y)
        if total.bound << up >= 2**62:
            return total.round_shift(k_y).clip(32767).to("int32")
        return rounded16(high_word(total.to("int64") << T.int64(up)), k_y + up)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((heads, rows), "int32"),
        b: T.Buffer((words,), "int32"),
        c: T.Buffer((words,), "int32"),
        decay: T.Buffer((heads,), "int16"),
        dt: T.Buffer((heads,), "int16"),
        h: T.Buffer((heads, rows, 2, words), "int32"),
        y_mult: T.Buffer((heads,), "int32"),
        d_mult: T.Buffer((heads,), "int32"),
        y: T.Buffer((heads, rows, 2), "int16"),
        bc: T.Buffer((words, 2), "int32"),
    ):
        of_head = T.alloc_buffer((4,), "int32")
        xs = T.alloc_scalar("int32")
        us = T.alloc_scalar("int32")
        less = T.alloc_scalar("int32")
        ones = T.alloc_scalar("int32")
        ys = T.alloc_scalar("int32")
        loaded = T.alloc_buffer((4,), "int32")  # B, C, and the states of two rows
        acc = T.alloc_buffer((2,), "int32")
        for n in range(words):  # one address in place of two: the loop below needs every register
            bc[n, 0] = b[n]
            bc[n, 1] = c[n]
        for head in range(heads):
            of_head[0] = T.cast(decay[head], "int32")
            of_head[1] = T.cast(dt[head], "int32")
            of_head[2] = y_mult[head]
            of_head[3] = d_mult[head]
            for row in range(rows):
                less = pin(T.int32((1 << DECAY_SHIFT) - (2 << DECAY_SHIFT)))
                ones = pin(ONES)
                us = entering(x[head, row], of_head[1], ones)
                for r in T.unroll(2):
                    acc[r] = 0
                for i in range(words // batch):
                    for n in T.unroll(batch):
                        for r in T.unroll(2):
                            loaded[r] = bc[i * batch + n, r]
                        for r in T.unroll(2):
                            loaded[2 + r] = h[head, row, r, i * batch + n]
                        if runs:
                            for r in T.unroll(4):
                                loaded[r] = fence(loaded[r])
                        loaded[2] = mixed(loaded[2], loaded[0], of_head[0], us, 0, (less, ones))
                        loaded[3] = mixed(loaded[3], loaded[0], of_head[0], us, 1, (less, ones))
                        for r in T.unroll(2):
                            h[head, row, r, i * batch + n] = loaded[2 + r]
                        for r in T.unroll(2):
                            acc[r] = fence(smlad(loaded[2 + r], loaded[1], acc[r]))
                xs = x[head, row]
                ys = symmetric(
                    packed(
                        read_out(acc[0], of_head[2], T.cast(T.cast(xs, "int16"), "int32"), of_head[3]),
                        read_out(acc[1], of_head[2], xs >> 16, of_head[3]),
                    ),
                    ones,
                )
                y[head, row, 0] = T.cast(ys, "int16")
                y[head, row, 1] = T.cast(ys >> 16, "int16")

    own = Value(f"{node.outputs[0]}.bc", "int16", (2 * d_state,), 32768)
    finished = _finished(node, step, with_fences(kernel), y_mult, d_mult)
    return replace(finished, pointers=(*finished.pointers, own.name), scratch=(own,), flags=FLAGS)
