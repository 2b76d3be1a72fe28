"""Each channel's maps times its gate."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
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
