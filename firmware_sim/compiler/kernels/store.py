"""The next value of a state that no other kernel writes."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """Copies it to where the state lies."""
    node.expect(2, 1)
    state = node.tensor(0, "int16", None)
    x = node.tensor(1, "int16", *state.shape)
    n = state.shape[0]

    @T.prim_func(s_tir=True)
    def kernel(state: T.Buffer((n,), "int16"), x: T.Buffer((n,), "int16")):
        for i in range(n):
            state[i] = x[i]

    after = node.output(0, "int16", (n,), x.bound)
    return Kernel(kernel, (state.name, x.name), (after,), {after.name: state.name})
