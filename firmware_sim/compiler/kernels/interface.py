"""What a kernel builder gets (a checked node) and what it returns (a TIR function and what its pointers point to)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from tvm.tirx import PrimFunc

from realm_edge.errors import UserError

_ELEMENT_BITS = {int(TensorProto.INT8): 8, int(TensorProto.INT16): 16}


@dataclass(frozen=True)
class Value:
    """A tensor of the step graph; no element ever exceeds ``bound`` in absolute value, and ``alignment`` divides its address.

    The compiler's plan knows the alignment (:mod:`firmware_sim.compiler.plan`): a caller's buffer has none beyond that of its elements.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bound: int
    alignment: int = 1  # bytes

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Kernel:
    """One kernel.

    Attributes:
        function: TIR; its parameters are the pointers, in order.
        pointers: what each parameter points to: the name of a tensor, or a constant.
        outputs: the node's outputs, in order.
        in_place: output name to the name of the state that it overwrites.
        macs: multiply-accumulates per call, as the project counts them.
        scratch: memory of its own during a call, by names that no tensor of the graph has; it holds anything when the call begins.
        given: what the driver tells it, by such names.
        flags: of LLVM, for this kernel alone, as TVM's targets take them: "cl-opt" and "mattr".
    """

    function: PrimFunc
    pointers: tuple[str | NDArray, ...]
    outputs: tuple[Value, ...]
    in_place: Mapping[str, str] = field(default_factory=dict)
    macs: int = 0
    scratch: tuple[Value, ...] = ()
    given: tuple[Value, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A node with its operands looked up. The accessors check what an untrusted file may have got wrong.

    Attributes:
        where: file, node and operator, for messages.
        inputs: a Value for what other nodes or the caller write, an array for constants.
        outputs: names.
    """

    where: str
    inputs: tuple[Value | NDArray, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, int]

    def refuse(self, problem: str, remedy: str = "export the graph again") -> UserError:
        return UserError(f"{self.where}: {problem}; {remedy}")

    def tensor(self, i: int, dtype: str, *shape: int | None) -> Value:
        """Input ``i`` as a tensor of this type and shape; None accepts any length.

        Raises:
            UserError: it is a constant or has another type or shape.
        """
        operand = self._input(i)
        if not isinstance(operand, Value):
            raise self.refuse(f"input {i} is a constant, not a tensor")
        self._check(i, operand.dtype, operand.shape, dtype, shape)
        return operand

    def constant(self, i: int, dtype: str, *shape: int | None) -> NDArray:
        """Input ``i`` as a constant of this type and shape; see :meth:`tensor`."""
        operand = self._input(i)
        if isinstance(operand, Value):
            raise self.refuse(f"input {i} ('{operand.name}') is not a constant")
        self._check(i, operand.dtype.name, operand.shape, dtype, shape)
        return operand

    def scalar(self, i: int, least: int) -> int:
        """Input ``i`` as a constant int64 scalar of at least ``least``."""
        value = int(self.constant(i, "int64"))
        if value < least:
            raise self.refuse(f"input {i} is {value}, less than {least}")
        return value

    def shift(self, i: int) -> int:
        """k of input ``i``, which holds 2^k."""
        value = self.scalar(i, 1)
        if value & (value - 1):
            raise self.refuse(f"input {i} is {value}, not a power of two")
        return value.bit_length() - 1

    def element_bits(self) -> int:
        """Of the result, by the attribute ``to``, an ONNX element type.

        Raises:
            UserError: it is neither int8 nor int16.
        """
        to = self.attributes.get("to")
        if to not in _ELEMENT_BITS:
            raise self.refuse(f"attribute 'to' is {to}, not {TensorProto.INT8} (int8) or {TensorProto.INT16} (int16)")
        return _ELEMENT_BITS[to]

    def output(self, i: int, dtype: str, shape: tuple[int, ...], bound: int) -> Value:
        """Output ``i`` with its type; the bound cannot exceed that of the type."""
        return Value(self.outputs[i], dtype, shape, min(bound, full_range(dtype)))

    def expect(self, inputs: int, outputs: int) -> None:
        """Check how many operands there are.

        Raises:
            UserError: too few or too many.
        """
        if (len(self.inputs), len(self.outputs)) != (inputs, outputs):
            got = f"{len(self.inputs)} inputs and {len(self.outputs)} outputs"
            raise self.refuse(f"has {got} where the operator has {inputs} and {outputs}")

    def _input(self, i: int) -> Value | NDArray:
        return self.inputs[i]

    def _check(self, i: int, dtype: str, shape: tuple[int, ...], want_dtype: str, want: tuple[int | None, ...]) -> None:
        fits = len(shape) == len(want) and all(w in (None, s) and s > 0 for s, w in zip(shape, want, strict=True))
        if dtype != want_dtype or not fits:
            wanted = f"{want_dtype}[{', '.join('any' if w is None else str(w) for w in want)}]"
            raise self.refuse(f"input {i} is {dtype}{list(shape)} where {wanted} is needed")


def full_range(dtype: str) -> int:
    """The largest absolute value of a signed integer type."""
    return 1 << (np.dtype(dtype).itemsize * 8 - 1)


def divisor(count: int, most: int) -> int:
    """How many of ``count`` things the body of a loop does, so that it does ``most`` at most and none is left over."""
    return max(n for n in range(1, most + 1) if count % n == 0)
