"""One step of the selective state space on Helium: eight states in nine instructions.

VQRDMLADH adds two products of 16 bits, doubles, rounds, takes the upper half and saturates: of a state h beside its B, and the decay beside
u, that is sat16(round_shift(decay h + u B, 15)), without an intermediate that could overflow. It does so for the even lanes, its exchanged
form for the odd ones; what lies beside each state is inserted by a shift.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from firmware_sim.compiler.kernels.dsp import packed
from firmware_sim.compiler.kernels.exact import peak
from firmware_sim.compiler.kernels.fence import pin, with_fences
from firmware_sim.compiler.kernels.helium import (
    carry,
    halves,
    narrowed,
    raised,
    run,
    symmetric16,
    vmladava,
    vmulh,
    vmull,
    vqrdmladh,
    with_even,
    with_odd,
    words,
)
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor
from firmware_sim.compiler.kernels.requantise import LEAST_SHIFT

if TYPE_CHECKING:
    from firmware_sim.compiler.kernels.selective_step import _Operands

    Finish = Callable[[Node, _Operands, PrimFunc, NDArray, NDArray], Kernel]

_LANES = 8
_FLAGS = {"cl-opt": ("-misched-regpressure:bool=false",)}  # LLVM would compute one vector after the other, each waiting for itself
_BODY = 2  # vectors of a row in the loop's body, at most: B and C of both stay in registers


def vector_step(node: Node, step: _Operands, finished: Finish) -> Kernel | None:
    """Kernel of whole vectors of states, or None where they do not come out even or a bound does not hold.

    Args:
        finished: the kernel of a function with the operands in their order, then y.
    """
    heads, headdim, d_state = step.h.shape
    k_u = step.k_u
    up = max(0, LEAST_SHIFT - step.k_y)  # both products are raised: the gain of the state, and x
    k_y, y_mult, d_mult = step.k_y + up, step.y_mult.astype(np.int64) << up, step.d_mult
    y_bound = step.sum_bound * peak(y_mult) + (step.x.bound << up) * peak(d_mult)
    if d_state % _LANES or headdim < _LANES or not 1 <= k_u <= 32:
        return None
    if k_y > 62 or peak(y_mult) >= 2**31 or step.x.bound << up >= 2**31 or y_bound >= 2**62:
        return None
    body = divisor(d_state // _LANES, _BODY)

    def begin(group: Any, lanes: int) -> Any:
        """The first row of a group; the last one begins earlier where they do not come out even."""
        return group * lanes if headdim % lanes == 0 else T.min(group * lanes, headdim - lanes)

    def entering(xs: Any, dts: Any) -> Any:
        """u of eight rows."""
        even, odd = (vmull(xs, dts, top) for top in (False, True))
        return symmetric16(narrowed(narrowed(halves(even), even, k_u, top=False), odd, k_u, top=True))

    def mixed(h: Any, b: Any, pairs: Any) -> Any:
        """h' of eight states; ``pairs`` are the decay and u, in turn."""
        first = with_even(h, b)
        even = vqrdmladh(first, first, pairs, exchanged=False)
        return symmetric16(vqrdmladh(even, with_odd(h, b), pairs, exchanged=True))

    def read_out(acc: Any, state_gain: Any, xs: Any, input_gain: Any) -> Any:
        """y of four rows by lane of int32, whose upper half means nothing.

        The upper words of both products, and what the lower ones carry, decide it: the bits below do not matter to shifts from 33 on.
        """
        products = ((acc, state_gain), (xs, input_gain))
        lows = [T.reinterpret("uint32x4", values) * T.broadcast(T.reinterpret("uint32", gain), 4) for values, gain in products]
        total = sum((vmulh(values, T.broadcast(gain, 4)) for values, gain in products), carry(*lows))
        return words(symmetric16(narrowed(halves(total), total, k_y - 32, top=False)))

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((heads, headdim), "int16"),
        b: T.Buffer((d_state,), "int16"),
        c: T.Buffer((d_state,), "int16"),
        decay: T.Buffer((heads,), "int16"),
        dt: T.Buffer((heads,), "int16"),
        h: T.Buffer((heads, headdim, d_state), "int16"),
        y_mult: T.Buffer((heads,), "int32"),
        d_mult: T.Buffer((heads,), "int32"),
        y: T.Buffer((heads, headdim), "int16"),
        us: T.Buffer((headdim,), "int16"),
        sums: T.Buffer((headdim,), "int32"),
    ):
        acc = T.alloc_scalar("int32")
        hs = T.alloc_buffer((body, _LANES), "int16")
        for head in range(heads):
            for group in range(pin(T.int32(-(-headdim // _LANES)))):
                first: T.let = begin(group, _LANES)
                us[run(first, _LANES)] = entering(x[head, run(first, _LANES)], T.broadcast(dt[head], _LANES))
            for row in range(headdim):
                pairs: T.let = halves(T.broadcast(packed(T.cast(decay[head], "int32"), T.cast(us[row], "int32")), _LANES // 2))
                acc = 0
                for i in range(d_state // _LANES // body):
                    for j in T.unroll(body):
                        hs[j, run(0, _LANES)] = h[head, row, run((i * body + j) * _LANES, _LANES)]
                    for j in T.unroll(body):
                        hs[j, run(0, _LANES)] = mixed(hs[j, run(0, _LANES)], b[run((i * body + j) * _LANES, _LANES)], pairs)
                    for j in T.unroll(body):
                        h[head, row, run((i * body + j) * _LANES, _LANES)] = hs[j, run(0, _LANES)]
                        acc = vmladava(acc, hs[j, run(0, _LANES)], c[run((i * body + j) * _LANES, _LANES)])
                sums[row] = acc
            for group in range(pin(T.int32(-(-headdim // 4)))):
                start: T.let = begin(group, 4)
                y[head, run(start, 4)] = T.cast(
                    read_out(sums[run(start, 4)], y_mult[head], raised(T.cast(x[head, run(start, 4)], "int32x4"), up), d_mult[head]),
                    "int16x4",
                )

    own = (Value(f"{node.outputs[0]}.u", "int16", (headdim,), 32767), Value(f"{node.outputs[0]}.sums", "int32", (headdim,), step.sum_bound))
    made = finished(node, step, with_fences(kernel), y_mult.astype(np.int32), d_mult)
    return replace(made, flags=_FLAGS, pointers=(*made.pointers, *(value.name for value in own)), scratch=own)
