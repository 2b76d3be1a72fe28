"""The hand, which both generators have in common: velocity of reaches between random targets."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from realm_edge.synthetic.noise import filtered

STEP_HZ = 1000
BEHAVIOR_RATE_HZ = 100
LEAD_S = 0.1  # motor cortex leads the hand (Moran & Schwartz 1999: 75 to 150 ms)
SPEED_SCALE_CM_S = 12.0  # velocities are divided by this before they modulate anything

_WORKSPACE_CM = 8.0  # half the side of the square in which targets lie
_REACH_S = (0.45, 0.9)
_DWELL_S = (0.05, 0.4)
_JITTER_CM_S = 0.5  # of the hand, below 4 Hz


def reaches(rng: np.random.Generator, samples: int) -> NDArray[np.float64]:
    """Velocity ``(samples, 2)`` in cm/s of minimum-jerk reaches (Flash & Hogan 1985) between random targets, with a little jitter."""
    velocity = _JITTER_CM_S * filtered(rng, samples, 2, signal.butter(2, 4.0, fs=STEP_HZ, output="sos")).astype(np.float64)
    hand, start = np.zeros(2), 0
    while start < samples:
        length = round(rng.uniform(*_REACH_S) * STEP_HZ)
        target = rng.uniform(-_WORKSPACE_CM, _WORKSPACE_CM, 2)
        tau = (np.arange(length) + 0.5) / length
        profile = 30 * (tau * (1 - tau)) ** 2 * STEP_HZ / length  # 1/s, integral 1
        stop = min(start + length, samples)
        velocity[start:stop] += profile[: stop - start, None] * (target - hand)
        hand, start = target, stop + round(rng.uniform(*_DWELL_S) * STEP_HZ)
    return velocity
