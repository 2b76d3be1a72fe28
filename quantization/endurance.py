"""Whether rounding errors grow in a long run: int8 against float over continuous input, both from the zero state."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.metrics import squared_errors

# Minutes of one recording differ by what the animal does in them; a state that drifts does not stop at half as much again.
MOST_GROWTH = 1.5


@dataclass(frozen=True)
class Endurance:
    """Errors are those of :func:`realm_edge.metrics.nrmse`, of each window; the warm-up is left out."""

    errors: tuple[float, ...]  # of one window after the other
    first: float  # median of the first windows: artefacts lift some of them, a drift lifts all
    last: float  # median of as many at the end
    most_growth: float = MOST_GROWTH

    @property
    def holds(self) -> bool:
        """Whether the error at the end is at most ``most_growth`` times that at the start."""
        return self.last <= self.most_growth * self.first

    def as_json(self) -> dict[str, Any]:
        """All fields, and ``holds``."""
        return {**asdict(self), "errors": list(self.errors), "holds": self.holds}


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
    return Endurance(tuple(errors.tolist()), float(np.median(errors[:compared])), float(np.median(errors[-compared:])))
