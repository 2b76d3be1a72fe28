"""Whether rounding errors grow in a long run: int8 against float over continuous input, both from the zero state."""

import numpy as np
from numpy.typing import NDArray

from quantization.summaries import Endurance
from realm_edge.metrics import squared_errors

# Minutes of one recording differ by what the animal does in them; a state that drifts does not stop at half as much again.
MOST_GROWTH = 1.5


def endurance(int8: NDArray, exact: NDArray, warm_up: int, window: int, compared: int) -> Endurance:
    """Errors of int8 over time.

    Args:
        int8: outputs in target units, (bins, dims), from the zero state.
        exact: the same of the float chain.
        warm_up: bins that do not count.
        window: bins of each of ``errors``; what is left at the end is no window.
        compared: windows at the start, and as many at the end.

    Raises:
        ValueError: the run is too short for that.
        UserError: an axis of the float output never changes.
    """
    squares = squared_errors(int8, exact, exact[warm_up:])[warm_up:].mean(axis=1)
    windows = squares[: len(squares) // window * window].reshape(-1, window)
    if len(windows) < 2 * compared:
        raise ValueError(f"{len(windows)} windows are fewer than twice {compared}")
    errors = np.sqrt(windows.mean(axis=1))
    first, last = float(np.median(errors[:compared])), float(np.median(errors[-compared:]))
    holds = last <= MOST_GROWTH * first
    return Endurance(errors=tuple(errors.tolist()), first=first, last=last, most_growth=MOST_GROWTH, holds=holds)
