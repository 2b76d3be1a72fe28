"""Threshold crossings of a bin."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import BOOL, INT8, INT16, INT32, INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import saturate, wide
from quantization.context import FrontendContext
from quantization.operator import Draw, Operator, draw_ints


def q_spike_count(
    y: NDArray, threshold: NDArray, phase: NDArray, below: NDArray, count: NDArray, held: NDArray, ticks: NDArray
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Threshold crossings (downwards) counted over a bin of ``ticks`` samples.

    y (channels, 1) int32; threshold (channels,) int32; below (channels,) int8, 0 or 1; count, held (channels,) int16.
    Returns the held counts (channels,) int16, valid (1,) int32, phase, below, count.
    """
    new_phase = wide(phase) + 1
    edge = new_phase == wide(ticks)
    now = wide(y)[:, 0] < wide(threshold)
    new_count = saturate(wide(count) + (now & (below == 0)), 16)
    return (
        np.where(edge, new_count, held),
        edge.astype(np.int32),
        np.where(edge, 0, new_phase).astype(np.int32),
        now.astype(np.int8),
        np.where(edge, np.int16(0), new_count),
    )


ONNX = f"""QSpikeCount (y, threshold, phase, below, count, held, ticks) => (features, valid, next_phase, next_below, next_count) {{
    unit = Constant <value_int: int = 1> ()
    none = Constant <value_int: int = 0> ()
    axis = Constant <value_ints: ints = [1]> ()
    phase64 = Cast <to: int = {INT64}> (phase)
    counted = Add (phase64, unit)
    edge = Equal (counted, ticks)
    row = Squeeze (y, axis)
    now = Less (row, threshold)
    next_below = Cast <to: int = {INT8}> (now)
    was = Cast <to: int = {BOOL}> (below)
    fresh_side = Not (was)
    crossing = And (now, fresh_side)
    crossing64 = Cast <to: int = {INT64}> (crossing)
    count64 = Cast <to: int = {INT64}> (count)
    new_wide = Add (count64, crossing64)
    new_count = {DOMAIN}.Saturate16 (new_wide)
    count_wide = Cast <to: int = {INT64}> (new_count)
    held_wide = Cast <to: int = {INT64}> (held)
    features_wide = Where (edge, count_wide, held_wide)
    features = Cast <to: int = {INT16}> (features_wide)
    valid = Cast <to: int = {INT32}> (edge)
    phase_wide = Where (edge, none, counted)
    next_phase = Cast <to: int = {INT32}> (phase_wide)
    next_wide = Where (edge, none, count_wide)
    next_count = Cast <to: int = {INT16}> (next_wide)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    y, threshold = draw_ints(rng, np.int32, (5, 1), 100), draw_ints(rng, np.int32, (5,), 100)
    below, held = rng.integers(0, 2, 5).astype(np.int8), draw_ints(rng, np.int16, (5,), 32767)
    count = rng.choice([0, 1, 32766, 32767], 5).astype(np.int16)
    return [y, threshold, np.array([rng.choice([0, 18, 19])], np.int32), below, count, held, np.int64(20)], {}


def _spike_count(context: FrontendContext, node: onnx.NodeProto) -> None:
    channels = context.channels
    threshold = context.const("bins.threshold", np.rint(context.constants[node.input[1]] * 2**context.fmt.fraction), np.int32)
    phase_in, phase_out = context.graph.state("bins.phase", np.int32, (1,))
    below_in, below_out = context.graph.state("bins.below", np.int8, (channels,))
    count_in, count_out = context.graph.state("bins.count", np.int16, (channels,))
    held_in, held_out = context.graph.state("bins.held", np.int16, (channels,))
    inputs = [node.input[0], threshold, phase_in, below_in, count_in, held_in, *context.scalars(node.name, ticks=context.ticks)]
    context.graph.node("QSpikeCount", inputs, [held_out, "valid", phase_out, below_out, count_out], node.name)
    context.scale = [1.0] * channels


OPERATOR = Operator(q_spike_count, ONNX, draw, {"SpikeCount": _spike_count})
