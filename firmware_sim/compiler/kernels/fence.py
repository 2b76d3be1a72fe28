"""Inline assembly without an instruction, by which a kernel keeps LLVM from moving and merging what was placed with care.

Each function below is LLVM IR that a kernel brings along (TVM's pragma ``import_llvm``) and that is inlined where it is called. Its
assembly is the empty string: objects hold what LLVM makes of the kernel and nothing else. Input and output are tied to one register.
"""

from typing import Any

import tvm
from tvm import tirx
from tvm.script import tirx as T

_IR = """
define internal i32 @realm_fence(i32 %v) alwaysinline nounwind {
  %r = call i32 asm sideeffect "", "=r,0,~{memory}"(i32 %v)
  ret i32 %r
}
define internal i32 @realm_pin(i32 %v) alwaysinline nounwind {
  %r = call i32 asm "", "=r,0"(i32 %v)
  ret i32 %r
}
"""
_PAIR = """
define internal i64 @NAME(i64 %v) alwaysinline nounwind {
  %low = trunc i64 %v to i32
  %shifted = lshr i64 %v, 32
  %high = trunc i64 %shifted to i32
  %pair = call {i32, i32} ASSEMBLY(i32 %low, i32 %high)
  %l = extractvalue {i32, i32} %pair, 0
  %h = extractvalue {i32, i32} %pair, 1
  %l64 = zext i32 %l to i64
  %h64 = zext i32 %h to i64
  %up = shl i64 %h64, 32
  %r = or i64 %l64, %up
  ret i64 %r
}
"""
_IR += _PAIR.replace("NAME", "realm_fence64").replace("ASSEMBLY", 'asm sideeffect "", "=r,=r,0,1,~{memory}"')
_IR += _PAIR.replace("NAME", "realm_pin64").replace("ASSEMBLY", 'asm "", "=r,=r,0,1"')


def fence(value: Any) -> Any:
    """The int32 ``value``. No load or store crosses the place where it is computed: loads before it stay one run, which cores pipeline."""
    return T.call_extern("int32", "realm_fence", value)


def fence64(value: Any) -> Any:
    """The same of an int64."""
    return T.call_extern("int64", "realm_fence64", value)


def pin(value: Any) -> Any:
    """The int32 ``value``, of which LLVM knows nothing any more: it stays in a register and is not widened, folded or formed again.

    LLVM unrolls no loop for a Cortex-M that calls what it does not know: one pin in the body keeps a loop as it is written.
    """
    return T.call_extern("int32", "realm_pin", value)


def pin64(value: Any) -> Any:
    """The same of an int64: sums that it ends are one chain of multiply-accumulates."""
    return T.call_extern("int64", "realm_pin64", value)


def with_fences(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel that may call the functions above."""
    name, ir = (tvm.ir.StringImm(text) for text in ("default", _IR))
    return function.with_body(tirx.AttrStmt(name, "pragma_import_llvm", ir, function.body))
