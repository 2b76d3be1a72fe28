"""Rounding and saturation for cores without an instruction for them, and what multiplication they have.

LLVM makes two branches of a minimum and a maximum, and of each one that is taken when the value is inside. The functions below are LLVM IR
that a kernel brings along (TVM's pragma ``import_llvm``) and that is inlined where it is called: one branch, which is hardly ever taken, as
its weights tell LLVM.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import tirx
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Arithmetic, Exact, computed_by, width
from firmware_sim.compiler.kernels.fence import pin, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.requantise import LEAST_SHIFT
from firmware_sim.compiler.kernels.words import full_product, product_of_halves, upper, upper_of_halves

_IR = """
define internal i32 @realm_clip(i32 %v, i32 %limit) alwaysinline nounwind {
  %shifted = add i32 %v, %limit
  %span = shl i32 %limit, 1
  %inside = icmp ule i32 %shifted, %span
  br i1 %inside, label %done, label %outside, !prof !0
outside:
  %below = icmp slt i32 %v, 0
  %least = sub i32 0, %limit
  %end = select i1 %below, i32 %least, i32 %limit
  br label %done
done:
  %r = phi i32 [%v, %0], [%end, %outside]
  ret i32 %r
}
define internal i32 @realm_clip_by_bytes(i32 %v) alwaysinline nounwind {
  %top = ashr i32 %v, 8
  %shifted = add i32 %top, 127
  %inside = icmp ult i32 %shifted, 254
  br i1 %inside, label %done, label %outside, !prof !0
outside:
  %least = call i32 @llvm.smax.i32(i32 %v, i32 -32767)
  %end = call i32 @llvm.smin.i32(i32 %least, i32 32767)
  br label %done
done:
  %r = phi i32 [%v, %0], [%end, %outside]
  ret i32 %r
}
declare i32 @llvm.smax.i32(i32, i32)
declare i32 @llvm.smin.i32(i32, i32)
!0 = !{!"branch_weights", i32 1000, i32 1}
"""


@dataclass(frozen=True)
class Plain:
    """How plain code goes best on a core. Each is a function of TIR expressions.

    Attributes:
        arithmetic: its products and saturation.
        upper: of two int32, the upper word of their product.
        shifted: floor((v + 2^(k - 1)) / 2^k) of an int32, for 1 <= k; the sum does not leave int32.
        signed: an int16 from memory as int32.
        wide: whether there is an instruction for the upper word of a product.
    """

    arithmetic: Arithmetic
    upper: Callable[[Any, Any], Any]
    shifted: Callable[[Any, int], Any]
    signed: Callable[[Any], Any]
    wide: bool

    def rounded16(self, value: Exact, k: int) -> Any:
        """round_shift(v, k) in the symmetric range of int16, as int32."""
        if k and width(value.bound + (1 << k >> 1)) == "int32":
            rounded = Exact(self.shifted(value.to("int32"), k), value.round_shift(k).bound)
        else:
            rounded = value.round_shift(k)
        if rounded.bound <= 32767 or width(rounded.bound) == "int64":
            return rounded.clip(32767).to("int32")
        return self.arithmetic.clipped(rounded.to("int32"), 32767)

    def requantised16(self, acc: Exact, mult: Any, k: int) -> Any:
        """round_shift(acc * mult, k) in the symmetric range of int16, as int32. ``acc`` is below 2^31, ``mult`` any int32.

        The lower word of the product decides nothing where k is large enough; an accumulator with room is shifted up to make it so.
        """
        up = max(0, LEAST_SHIFT - k)
        if acc.bound << up >= 2**31:
            return self.rounded16(Exact(self.arithmetic.product(acc.to("int32"), mult), acc.bound << 31), k)
        value = T.shift_left(acc.to("int32"), T.int32(up)) if up else acc.to("int32")
        return self.rounded16(Exact(self.upper(value, mult), 1 << 30), k + up - 32)


def _clipped(value: Any, limit: int) -> Any:
    return T.call_extern("int32", "realm_clip", value, T.int32(limit))


def _clipped_by_bytes(value: Any, limit: int) -> Any:
    """Of int16 without a constant that does not fit an instruction; what is next to the limits takes longer."""
    return T.call_extern("int32", "realm_clip_by_bytes", value) if limit == 32767 else _clipped(value, limit)


def _shifted(value: Any, k: int) -> Any:
    return (value + T.int32(1 << (k - 1))) >> T.int32(k)


def _shifted_twice(value: Any, k: int) -> Any:
    """Without the constant."""
    return ((value >> T.int32(k - 1)) + 1) >> T.int32(1)


def _signed(value: Any) -> Any:
    return T.cast(value, "int32")


def _signed_later(value: Any) -> Any:
    """A signed load takes a second register, and an instruction to fill it."""
    return T.cast(T.cast(pin(T.cast(T.reinterpret("uint16", value), "int32")), "int16"), "int32")


def _pinned_product(a: Any, b: Any) -> Any:
    """Of words: LLVM would form the sums that enter it in 64 bits, as those of TIR do not wrap."""
    return full_product(pin(a), pin(b))


def _upper(a: Any, b: Any) -> Any:
    return upper(_pinned_product(a, b))


RV32 = Plain(Arithmetic(_pinned_product, _clipped), _upper, _shifted, _signed, True)
THUMB1 = Plain(Arithmetic(product_of_halves, _clipped_by_bytes), upper_of_halves, _shifted_twice, _signed_later, False)
CORES = {"rv32": RV32, "thumb1": THUMB1}


def computed_plainly(build: Callable[[Node], Kernel], core: Plain) -> Callable[[Node], Kernel]:
    """What makes the kernel that ``build`` makes, in the core's arithmetic."""

    def built(node: Node) -> Kernel:
        with computed_by(core.arithmetic):
            kernel = build(node)
        return replace(kernel, function=with_plain(with_fences(kernel.function)))

    return built


def with_plain(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel that may use the functions of a :class:`Plain`."""
    name, ir = (tvm.ir.StringImm(text) for text in ("default", _IR))
    return function.with_body(tirx.AttrStmt(name, "pragma_import_llvm", ir, function.body))
