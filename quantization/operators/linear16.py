"""The matrix product of :mod:`quantization.operators.linear` with int16 in place of int8 inputs."""

import numpy as np

from export.functions import INT8, INT64
from export.stepgraph import DOMAIN
from quantization.operator import Draw, Operator, draw_ints
from quantization.operators import linear
from quantization.operators.linear import q_linear

# x = 256 high + (low + 128), with high and low in int8: two products of int8 with int8
ONNX = f"""QLinear16 (x, weight, bias, mult, two_k) => (y) {{
    axis = Constant <value_ints: ints = [0]> ()
    below = Constant <value_int: int = 32768> ()
    byte = Constant <value_int: int = 256> ()
    half = Constant <value_int: int = 128> ()
    x64 = Cast <to: int = {INT64}> (x)
    u = Add (x64, below)
    u_low = Mod (u, byte)
    u_high = Div (u, byte)
    low64 = Sub (u_low, half)
    high64 = Sub (u_high, half)
    low = Cast <to: int = {INT8}> (low64)
    high = Cast <to: int = {INT8}> (high64)
    low_row = Unsqueeze (low, axis)
    high_row = Unsqueeze (high, axis)
    low_zero64 = Neg (half)
    low_zero = Cast <to: int = {INT8}> (low_zero64)
    low_products = MatMulInteger (low_row, weight, low_zero)
    high_products = MatMulInteger (high_row, weight)
    low_sums = Squeeze (low_products, axis)
    high_sums = Squeeze (high_products, axis)
    low_sums64 = Cast <to: int = {INT64}> (low_sums)
    high_sums64 = Cast <to: int = {INT64}> (high_sums)
    shifted = Mul (high_sums64, byte)
    sums = Add (shifted, low_sums64)
    b64 = Cast <to: int = {INT64}> (bias)
    acc = Add (sums, b64)
    y = {DOMAIN}.Requantise (acc, mult, two_k)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    (_, *constants), attributes = linear.draw(rng)
    return [draw_ints(rng, np.int16, (40,), 32767), *constants], attributes


OPERATOR = Operator(q_linear, ONNX, draw)
