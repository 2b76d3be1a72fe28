"""Matrix times vector, of int16 with int8 weights."""

from firmware_sim.compiler.kernels.helium_product import vector_product
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.linear import matrix_product
from firmware_sim.compiler.kernels.plain import RV32, THUMB1, computed_plainly
from firmware_sim.compiler.kernels.row_pairs import DUAL, row_pair_product
from firmware_sim.compiler.kernels.unsigned_product import unsigned_product
from firmware_sim.compiler.kernels.winograd import paired_product


def scalar(node: Node) -> Kernel:
    """The same of int16: one load and one product a term all the same."""
    return matrix_product(node, "int16")


def dsp(node: Node) -> Kernel:
    """As for int8; x need not be unpacked."""
    return row_pair_product(node, "int16") or matrix_product(node, "int16")


def dual(node: Node) -> Kernel:
    """The same, in the order that suits a core of two instructions a cycle."""
    return row_pair_product(node, "int16", DUAL) or matrix_product(node, "int16")


def helium(node: Node) -> Kernel:
    """The same with 8 products in one instruction, for rows of a vector at least."""
    return vector_product(node, "int16") or dsp(node)


def rv32(node: Node) -> Kernel:
    """One multiplication for two terms."""
    return paired_product(node, "int16") or computed_plainly(scalar, RV32)(node)


def thumb1(node: Node) -> Kernel:
    """The same of words without a sign, which ARMv6-M loads best."""
    return unsigned_product(node, "int16") or computed_plainly(scalar, THUMB1)(node)
