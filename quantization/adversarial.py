"""Input that no electrode gives, but a broken one may: on it, too, every bit is as defined."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HIGHEST = 32767
_STUCK_AT = 12345

Blocks = Sequence[NDArray[np.int16]]  # (rows, width) each


def adversarial(rows: int, width: int, lowest: int, blocks: int, silent: int) -> dict[str, Blocks]:
    """The inputs by name, each from the zero state on; the same in every call.

    Args:
        rows: of a block: a bin's samples, or 1 for features.
        width: channels, or features.
        lowest: the rail below: -32768 for samples, -32767 for features, which saturate symmetrically.
        blocks: of each input; of "silence", those of noise before it.
        silent: blocks of silence.
    """
    rng = np.random.default_rng(0)
    count = blocks * rows
    first_half, even = (np.arange(count) < count // 2)[:, None], (np.arange(count) % 2 == 0)[:, None]
    everywhere = np.ones((1, width), bool)
    stuck, noise = rng.integers(lowest, HIGHEST + 1, (2, count, width))
    stuck[:, 0] = _STUCK_AT
    made = {
        "rails": np.where(first_half & everywhere, HIGHEST, lowest),
        "zeros": np.zeros((count, width)),
        "alternating extremes": np.where(even & everywhere, HIGHEST, lowest),
        "stuck channel": stuck,
        "full-scale noise": noise,
    }
    inputs: dict[str, Blocks] = {name: values.astype(np.int16).reshape(blocks, rows, width) for name, values in made.items()}
    return inputs | {"silence": [*inputs["full-scale noise"], *[np.zeros((rows, width), np.int16)] * silent]}
