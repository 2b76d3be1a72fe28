"""One step of the selective state space."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node
from quantization.arithmetic import DECAY_SHIFT


def scalar(node: Node) -> Kernel:
    """h' = sat16(round_shift(decay * h + u * B, 15)) in place, y from C and h'; see the reference for u and y."""
    node.expect(10, 2)
    h = node.tensor(5, "int16", None, None, None)
    heads, headdim, d_state = h.shape
    x = node.tensor(0, "int16", heads * headdim)
    b, c = node.tensor(1, "int16", d_state), node.tensor(2, "int16", d_state)
    decay, dt = node.tensor(3, "int16", heads), node.tensor(4, "int16", heads)
    k_u, k_y = node.shift(6), node.shift(9)
    y_mult, d_mult = stored(node.constant(7, "int32", heads)), stored(node.constant(8, "int32", heads))
    sum_bound = d_state * c.bound * 32767
    if sum_bound >= 2**31:
        raise node.refuse(f"|C| may be {c.bound}: its sum over {d_state} states leaves 32 bits", f"scale C to {65535 // d_state}")

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

    y = node.output(0, "int16", (heads * headdim,), 32767)
    after = node.output(1, "int16", h.shape, 32767)
    pointers = (x.name, b.name, c.name, decay.name, dt.name, h.name, y_mult, d_mult, y.name)
    return Kernel(kernel, pointers, (y, after), {after.name: h.name}, macs=3 * heads * headdim * d_state)
