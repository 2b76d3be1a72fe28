"""Matrix times vector, of int8 with int8 weights."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored, width
from firmware_sim.compiler.kernels.helium_product import vector_product
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.plain import RV32, THUMB1, computed_plainly
from firmware_sim.compiler.kernels.products import ROWS, read_product
from firmware_sim.compiler.kernels.row_pairs import DUAL, row_pair_product
from firmware_sim.compiler.kernels.twin import twin_product
from firmware_sim.compiler.kernels.unsigned_product import unsigned_product
from firmware_sim.compiler.kernels.winograd import paired_product


def scalar(node: Node) -> Kernel:
    """sat16(round_shift((x W + b) * mult, k)), with the weights stored (out, in)."""
    return matrix_product(node, "int8")


def dsp(node: Node) -> Kernel:
    """The same with four products in three instructions, where sums and weights have room for that."""
    return row_pair_product(node, "int8") or matrix_product(node, "int8")


def dual(node: Node) -> Kernel:
    """The same, in the order that suits a core of two instructions a cycle."""
    return row_pair_product(node, "int8", DUAL) or matrix_product(node, "int8")


def helium(node: Node) -> Kernel:
    """The same with 16 products in one instruction, for rows of a vector at least."""
    return vector_product(node, "int8") or dsp(node)


def rv32(node: Node) -> Kernel:
    """The same with two products in one multiplication, where no sum of two leaves its half of a word, or else one for two terms."""
    return twin_product(node) or paired_product(node, "int8") or computed_plainly(scalar, RV32)(node)


def thumb1(node: Node) -> Kernel:
    """The same of words without a sign, which ARMv6-M loads best."""
    return unsigned_product(node, "int8") or computed_plainly(scalar, THUMB1)(node)


def matrix_product(node: Node, dtype: str) -> Kernel:
    product = read_product(node, dtype)
    x, weight, k, bound = product.x, product.weight, product.k, product.bound
    bias, mult = stored(product.bias), stored(product.mult)
    n_out, n_in = weight.shape
    acc_type = width(bound)
    rows = min(ROWS, n_out)
    blocks = -(-n_out // rows)

    def requantised(acc: Any, factor: Any) -> Any:
        return (Exact(acc, bound) * Exact(factor, peak(mult))).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n_in,), dtype),
        weight: T.Buffer((n_out, n_in), "int8"),
        bias: T.Buffer((n_out,), bias.dtype.name),
        mult: T.Buffer((n_out,), mult.dtype.name),
        y: T.Buffer((n_out,), "int16"),
    ):
        acc = T.alloc_buffer((rows,), acc_type)
        for block in range(blocks):
            # The last block begins earlier where rows do not divide n_out: a few sums are formed twice, no second loop is needed.
            first: T.let = T.min(block * rows, n_out - rows)
            for r in T.unroll(rows):
                acc[r] = T.cast(bias[first + r], acc_type)
            for i in range(n_in):
                for r in T.unroll(rows):
                    acc[r] = acc[r] + T.cast(x[i], acc_type) * T.cast(weight[first + r, i], acc_type)
            for r in T.unroll(rows):
                y[first + r] = requantised(acc[r], mult[first + r])

    y = node.output(0, "int16", (n_out,), 32767)
    return Kernel(kernel, (x.name, weight, bias, mult, y.name), (y,), macs=weight.size)
