"""The operators of the integer step graphs, one module each.

A module ``selective_step`` defines ``OPERATOR``, which is ``QSelectiveStep`` in ONNX; its kernels are in the module of the same name of
:mod:`firmware_sim.compiler.kernels`. Numbers and rounding are those of :mod:`quantization.arithmetic`.
"""

from importlib import import_module
from inspect import signature
from pkgutil import iter_modules

from quantization.operator import Operator, Quantiser


def onnx_name(module: str) -> str:
    """``QSelectiveStep`` of ``selective_step``."""
    return "Q" + "".join(part.capitalize() for part in module.split("_"))


MODULES = {onnx_name(each.name): each.name for each in iter_modules(__path__)}
OPERATORS: dict[str, Operator] = {name: import_module(f"{__name__}.{module}").OPERATOR for name, module in MODULES.items()}
QUANTISERS: dict[str, Quantiser] = {op: quantiser for operator in OPERATORS.values() for op, quantiser in operator.quantisers.items()}
OF_EITHER_WIDTH: frozenset[str] = frozenset(  # float nodes whose integer twin makes int8 or int16, by its attribute ``to``
    op for operator in OPERATORS.values() if "to" in signature(operator.arithmetic).parameters for op in operator.quantisers
)
