"""One step of gated linear attention."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from math import prod
from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node
from quantization.arithmetic import DECAY_SHIFT


def scalar(node: Node) -> Kernel:
    """S' = sat16(round_shift(decay * S + u * k, 15)) in place, and y from q and S'; see the reference for u and y."""
    node.expect(9, 2)
    s = node.tensor(4, "int16", None, None, None)
    heads, d_v, d_k = s.shape
    q, decay = node.tensor(0, "int16", None), node.tensor(3, "int16", None)
    k, v = node.tensor(1, "int16", heads * d_k), node.tensor(2, "int16", heads * d_v)
    times = q.shape[0] // (heads * d_k)
    if q.shape[0] != times * heads * d_k or not times:
        raise node.refuse(f"its {q.shape[0]} queries are no whole number of those of {heads} heads of {d_k}")
    if decay.shape[0] not in (heads, heads * d_k):
        raise node.refuse(f"its {decay.shape[0]} decays are none of {heads} heads, or of {heads * d_k} keys")
    per_key = int(decay.shape[0] == heads * d_k and d_k > 1)
    columns = d_k if per_key else 1
    u_mult, y_mult = stored(node.constant(5, "int32", heads)), stored(node.constant(7, "int32", heads))
    k_u, k_y = node.shift(6), node.shift(8)
    sum_bound = d_k * q.bound * 32767
    if sum_bound >= 2**31:
        raise node.refuse(f"|q| may be {q.bound}: its sum over {d_k} keys leaves 32 bits", f"scale q to {65535 // d_k}")

    def entering(value: Any, mult: Any) -> Any:
        return (Exact(value, v.bound) * Exact(mult, peak(u_mult))).round_shift(k_u).clip(32767).to("int32")

    def mixed(gate: Any, before: Any, u: Any, key: Any) -> Any:
        # Of int16 factors with |u| <= 32767 this never leaves 32 bits, rounding included.
        acc = T.cast(gate, "int32") * T.cast(before, "int32") + u * T.cast(key, "int32")
        return Exact((acc + (1 << (DECAY_SHIFT - 1))) >> DECAY_SHIFT, 1 << 16).clip(32767).value

    def read_out(acc: Any, mult: Any) -> Any:
        return (Exact(acc, sum_bound) * Exact(mult, peak(y_mult))).round_shift(k_y).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        q: T.Buffer((heads, times, d_k), "int16"),
        k: T.Buffer((heads, d_k), "int16"),
        v: T.Buffer((heads, d_v), "int16"),
        decay: T.Buffer((heads, columns), "int16"),
        s: T.Buffer((heads, d_v, d_k), "int16"),
        u_mult: T.Buffer((heads,), u_mult.dtype.name),
        y_mult: T.Buffer((heads,), y_mult.dtype.name),
        y: T.Buffer((heads, times, d_v), "int16"),
    ):
        acc = T.alloc_scalar("int32")
        for head in range(heads):
            for row in range(d_v):
                u: T.let = entering(v[head, row], u_mult[head])
                for n in range(d_k):
                    s[head, row, n] = T.cast(mixed(decay[head, n * per_key], s[head, row, n], u, k[head, n]), "int16")
                for time in range(times):
                    acc = 0
                    for n in range(d_k):
                        acc = acc + T.cast(s[head, row, n], "int32") * T.cast(q[head, time, n], "int32")
                    y[head, time, row] = read_out(acc, y_mult[head])

    y = node.output(0, "int16", (heads * times * d_v,), 32767)
    after = node.output(1, "int16", s.shape, 32767)
    pointers = (q.name, k.name, v.name, decay.name, s.name, u_mult, y_mult, y.name)
    return Kernel(kernel, pointers, (y, after), {after.name: s.name}, macs=(2 + times) * prod(s.shape))
