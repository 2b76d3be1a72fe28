"""TIR functions to objects whose functions are plain ``void name(int8_t *, ...)``: no TVM runtime, no packed calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tvm
from tvm import IRModule, s_tir, tirx
from tvm.tirx.buffer import buffer_data_pointer_type
from tvm.tirx.stmt import DeclBuffer, SeqStmt

from firmware_sim.builds import get_build
from firmware_sim.compiler.armv6m import check_armv6m
from firmware_sim.compiler.kernels.interface import Kernel
from firmware_sim.compiler.objects import frame_bytes, plain_object
from realm_edge.files import naming

_ROOM = 1 << 18  # bytes that are seen to be free before an object is written; one of tests/small_run.py has at most 10 kB


@dataclass(frozen=True, eq=False)
class Machine:
    """What kernels are made for; two are the same where they are one object.

    Attributes:
        flags: a target of TVM, as a dict.
        kernels: the family of instruction sets, one of :data:`firmware_sim.compiler.kernels.FAMILIES`.
    """

    flags: Mapping[str, Any]
    kernels: str

    def target(self, more: Mapping[str, Sequence[str]] | None = None) -> tvm.target.Target:
        """TVM's target, with a kernel's own flags behind those of the machine."""
        added = {key: [*self.flags.get(key, ()), *values] for key, values in (more or {}).items()}
        return tvm.target.Target({**self.flags, **added})


@cache
def machine_of(build: str) -> Machine:
    """The machine of a build: of one, always the same object.

    Raises:
        UserError: no such build.
    """
    found = get_build(build)
    return Machine(found.tvm, found.kernels)


def build_object(kernel: Kernel, symbol: str, machine: Machine, path: Path) -> int:
    """Compile a kernel to the object file ``path``, under the C symbol ``symbol``; returns the bytes of stack that it takes.

    Its parameters must not overlap in memory, except where they are only read.
    """
    target = machine.target(kernel.flags)
    named = kernel.function.with_attr("global_symbol", symbol).with_attr("tirx.noalias", True)
    module = _lower(IRModule({symbol: named}), target)
    with naming(path):
        path.write_bytes(bytes(_ROOM))  # where there is no room for an object, LLVM would end the whole process
    tvm.get_global_func("target.build.llvm")(module, target).write_to_file(str(path), "o")
    compiled = path.read_bytes()
    with naming(path):
        path.write_bytes(plain_object(compiled))
    if str(machine.flags.get("mtriple", "")).startswith("thumbv6m"):
        check_armv6m(path)
    return frame_bytes(compiled, symbol)


def _lower(module: IRModule, target: tvm.target.Target) -> IRModule:
    """TVM's usual pipeline without MakePackedAPI; buffer parameters become raw pointers."""
    passes = [
        tirx.transform.BindTarget(target.with_host(target)),
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        tirx.transform.CommonSubexprElim(),
    ]
    lowered = tvm.transform.Sequential(passes)(module)
    plain = {name: _with_pointers(function) for name, function in lowered.functions.items()}
    return tvm.transform.Sequential([tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()])(IRModule(plain))


def _with_pointers(function: tirx.PrimFunc) -> tirx.PrimFunc:
    pointers = [tirx.Var(f"{p.name}_ptr", buffer_data_pointer_type(p)) for p in function.params]
    body = SeqStmt([*(DeclBuffer(p, data=v) for p, v in zip(function.params, pointers, strict=True)), function.body])
    for key, value in (("device_type", 1), ("device_id", 0)):  # the CPU; without these, accumulators may not live on the stack
        body = tirx.AttrStmt(tvm.ir.StringImm("default"), key, tirx.const(value, "int32"), body)
    return tirx.PrimFunc(pointers, body, function.ret_type, function.attrs).with_attr("calling_conv", 0)
