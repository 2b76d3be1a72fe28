"""Whether rounding errors grow in a long run: int8 against float over continuous input, both from the zero state."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Minutes of one recording differ by what the animal does in them; a state that drifts does not stop at half as much again.
MOST_GROWTH = 1.5


@dataclass(frozen=True)
class Endurance:
    """Errors are rms differences over the standard deviation of the float output behind the warm-up, all axes alike."""

    errors: tuple[float, ...]  # of one window after the other, the warm-up included
    first: float  # error of the bins that follow the warm-up
    last: float  # error of as many bins at the end
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
        warm_up: bins that are not compared.
        window: bins of each of ``errors``; the rest of the last window is left out.
        compared: bins at the start and at the end, at most half of those behind the warm-up.

    Raises:
        ValueError: the run is too short for that.
    """
    if len(exact) < warm_up + 2 * compared:
        raise ValueError(f"{len(exact)} bins are too few for {warm_up} of warm-up and twice {compared}")
    squares, sd = np.mean((int8 - exact) ** 2, axis=1), np.std(exact[warm_up:])
    windows = squares[: len(squares) // window * window].reshape(-1, window)
    first, last = squares[warm_up : warm_up + compared], squares[-compared:]
    errors = [float(np.sqrt(part.mean()) / sd) for part in (*windows, first, last)]
    return Endurance(tuple(errors[:-2]), *errors[-2:])
