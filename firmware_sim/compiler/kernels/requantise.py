"""Products with a factor mult / 2^k, rounded and saturated to 16 bits, from the high words of 64-bit products."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import high_word, rounded16
from firmware_sim.compiler.kernels.exact import Exact, peak
from firmware_sim.compiler.kernels.fence import pin

LEAST_SHIFT = 33  # from here on the low word of a product decides nothing


def lifted(k: int, *mults: NDArray) -> tuple[int, list[NDArray[np.int32]]]:
    """The same factors mult / 2^k with k raised towards 33 as far as the multipliers fit int32: k, multipliers."""
    room = min(max(0, 31 - peak(mult).bit_length()) for mult in mults)
    up = min(room, max(0, LEAST_SHIFT - k))
    return k + up, [(mult.astype(np.int64) << up).astype(np.int32) for mult in mults]


def requantised16(acc: Exact, mult: Any, k: int) -> Any:
    """round_shift(acc * mult, k) in the range of int16, -32768 included, as int32. ``acc`` is below 2^31, ``mult`` any int32.

    An accumulator with room is shifted up for the sake of the high word; one without it goes through 64 bits.
    """
    up = max(0, LEAST_SHIFT - k)
    if acc.bound << up >= 2**31:
        return (acc * Exact(mult, 2**31)).round_shift(k).clip(32767).to("int32")
    value = pin(T.shift_left(acc.to("int32"), T.int32(up))) if up else acc.to("int32")
    return rounded16(high_word(T.cast(value, "int64") * T.cast(mult, "int64")), k + up)
