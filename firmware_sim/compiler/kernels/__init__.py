"""One module per operator of the integer step graphs, by the names of :mod:`quantization.operators`, which defines what they compute.

A module has one function a family of instruction sets: it makes a TIR function of a checked node, specialised by shapes, constants and
proven bounds. ``scalar`` is plain integer code, which every core runs; a family without a function of its own in a module takes that
of a simpler one, which cores without saturation compute as :mod:`~firmware_sim.compiler.kernels.plain` says. What works on every sample
has ``checked`` instead, and pieces of which :mod:`firmware_sim.compiler.frontend` makes one kernel; families differ in their
:class:`~firmware_sim.compiler.kernels.words.Words` there.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from tvm.error import DiagnosticError

from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.plain import CORES, computed_plainly
from quantization.operators import MODULES

SCALAR = "scalar"
# rv32: RV32IM, whose multiplication takes longer than two additions on a small core; thumb1: ARMv6-M, which has no product of 64 bits and
# eight registers; dsp: 16-bit multiply-accumulate pairs of ARMv7E-M and of ARMv8-M with the DSP extension; dual: the same where two
# instructions start in a cycle (Cortex-M7), so that LLVM's order of them pays more than loads in runs; helium: the same with vectors of 128
# bits (Cortex-M55).
FAMILIES = (SCALAR, "rv32", "thumb1", "dsp", "dual", "helium")
_WITHOUT_ITS_OWN = {"helium": "dsp", "dual": "dsp", "dsp": SCALAR}


def builder(op: str, family: str) -> Callable[[Node], Kernel]:
    """What makes the kernel of a node of this operator, a key of :data:`quantization.operators.MODULES`."""
    module = import_module(f"{__name__}.{MODULES[op]}")
    if hasattr(module, "checked"):
        return _misplaced
    if family in CORES and not hasattr(module, family):
        return computed_plainly(module.scalar, CORES[family])
    while not hasattr(module, family):
        family = _WITHOUT_ITS_OWN[family]
    return getattr(module, family)


def build(make: Callable[[Node], Kernel], node: Node) -> Kernel:
    """What :func:`builder` found makes of a node.

    It is called in a thread of its own, whose stack is short: TVM reads the source around every call on the stack whenever it reads a
    kernel's. From within a command, or a test, that takes longer than the kernel itself.

    Raises:
        OverflowError: values that no integer of a core holds; TVM makes an error of its own of one that comes up while it reads a kernel.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        try:
            return thread.submit(make, node).result()
        except DiagnosticError as error:
            if isinstance(error.__context__, OverflowError):
                raise error.__context__ from error
            raise


def _misplaced(node: Node) -> Kernel:
    raise node.refuse("works on every sample of a front end, behind its common average", "export the front end by itself")
