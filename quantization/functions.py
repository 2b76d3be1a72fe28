"""The operators of :mod:`quantization.operators` and their helpers as ONNX functions (domain ``realm.edge``) of standard operators.

onnxruntime executes them as they are; ``onnx.inliner`` inlines them for tools without functions. Everything is computed in
int64 except MatMulInteger, which takes int8 times int8 only (uint8 times int8 saturates on CPUs without VNNI).
"""

from functools import cache

import onnx
import onnx.parser

from export.stepgraph import DOMAIN, OPSET
from quantization.helper_functions import HELPER_BODIES
from quantization.operators import OPERATORS


@cache
def functions() -> tuple[onnx.FunctionProto, ...]:
    """All integer operators and their helpers, parsed."""
    header = f'<opset_import: ["" : {OPSET}, "{DOMAIN}" : 1], domain: "{DOMAIN}">\n'
    bodies = (*HELPER_BODIES, *(operator.onnx for operator in OPERATORS.values()))
    return tuple(onnx.parser.parse_function(header + body) for body in bodies)
