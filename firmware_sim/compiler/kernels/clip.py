"""Saturation for cores without an instruction for it: one branch that is hardly ever taken.

LLVM makes two branches of a minimum and a maximum, and of each one that is taken when the value is inside. The function below is LLVM IR
that a kernel brings along (TVM's pragma ``import_llvm``) and that is inlined where it is called; its weights tell LLVM what is usual.
"""

from typing import Any

import tvm
from tvm import tirx
from tvm.script import tirx as T

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
!0 = !{!"branch_weights", i32 1000, i32 1}
"""


def clipped(value: Any, limit: int) -> Any:
    """min(max(v, -limit), limit) of an int32; v + limit must not leave int32 where v is beyond the limit by less than 2^31."""
    return T.call_extern("int32", "realm_clip", value, T.int32(limit))


def with_clip(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel that may call the function above."""
    name, ir = (tvm.ir.StringImm(text) for text in ("default", _IR))
    return function.with_body(tirx.AttrStmt(name, "pragma_import_llvm", ir, function.body))
