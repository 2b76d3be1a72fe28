"""The array of version 2, from implantation on: what sits where, what is lost, what drifts and returns.

Sources stand in ``docs/generator.md``. "Chosen" means that no figure was found.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from realm_edge.settings import Settings
from realm_edge.synthetic.noise import grid

NUISANCES = 3  # slow latents unrelated to movement
STATES = 3  # slow latents of each of: background, beta, gamma
PITCH_MM = 0.4  # of a Utah array

# Of units alike in amplitude a short-lived and a long-lived population: 0.63, 0.33, 0.20 and 0.08 survive 15, 47, 106 and 270 days,
# against 0.67, 0.31, 0.21 and 0.08 of Vaidya et al. 2014.
_SHORT_LIVED, _LIFE_DAYS = 0.64, (19.0, 182.0)
# Log-normal amplitudes: 45 uV in the middle, sd 0.6 of the log (chosen). A third of them lie above the sorter's limit.
_AMPLITUDE_UV, _AMPLITUDE_SD = 45.0, 0.6
_SORTED_UV, _SMALL_UV = (60.0, 250.0), (15.0, 60.0)
SMALL_PER_SORTED = 2  # 65 % of that distribution lie in the one range, 32 % in the other
_TROUGH_MS = (0.10, 0.18)  # half width
_RATE_HZ = (3.0, 10.0)  # of a unit at rest, log-uniform
_TUNING = (0.2, 0.6)  # exponent for a velocity of SPEED_SCALE_CM_S in the preferred direction
_SPEED_TUNING = (0.0, 0.25)  # exponent for that speed in any direction

_SMOOTH_MM = 0.8  # over which a field's correlation falls to 0.61; to 0.1 over 1.7 mm (chosen)
_WAVES = 64  # that a smooth field is made of
_SHARED = 0.5  # of the variance of a unit's direction and nuisances: those of the tissue around its electrode
_GAIN_SD = 0.25  # of the log gains of LMP, beta and gamma between electrodes, as in version 1

# What reverts to the mean: sd and days to 1/e. Fitted so that the anchors of docs/generator.md hold.
_TURN_RAD, _TURN_DAYS = 0.18, 60.0  # of the LFP's directions, smooth over the array
_UNIT_TURN_RAD, _UNIT_TURN_DAYS = 0.35, 30.0
_GAIN_SHIFT, _GAIN_DAYS = 0.06, 60.0  # of the log gains of LMP, beta and gamma
_RATE_SHIFT, _RATE_DAYS = 0.2, 30.0  # of units' log rates
_ELECTRODE_SHIFT, _ELECTRODE_DAYS = 0.1, 30.0  # of the log gain of all tissue, and of the log noise
# What does not return: the share of a unit's amplitude, and of the LFP's modulation by movement, that is left falls to 1/e.
_AMPLITUDE_LIFE_DAYS = 110.0
_MODULATION_LIFE_DAYS = 8000.0


@dataclass(frozen=True)
class Units:
    """All units of an array; the first ``settings.synthetic.units`` are those that a sorter would find. Angles in rad."""

    channel: NDArray[np.int32]  # (units,)
    trough_uv: NDArray[np.float64]  # (units,), on the day of the unit's first spikes
    width_ms: NDArray[np.float64]  # (units,), half width of the trough
    angle: NDArray[np.float64]  # (units,), preferred direction that it returns to
    turn: NDArray[np.float64]  # (units,), away from it
    log_rate: NDArray[np.float64]  # (units,), ln(Hz) at rest that it returns to
    rate_shift: NDArray[np.float64]  # (units,), away from it
    tuning: NDArray[np.float64]  # (units, 2), to velocity and speed
    nuisance: NDArray[np.float64]  # (units, NUISANCES), sd 1
    life_days: NDArray[np.float64]  # (units,), mean life of its population


@dataclass(frozen=True)
class Array:
    """One implanted array in one session. Gains relative to 1."""

    days: float  # since implantation
    dead: int  # channel
    place_mm: NDArray[np.float64]  # (channels, 2)
    lmp: NDArray[np.float64]  # (channels, 2), weight of the velocity in the local motor potential; a smooth field
    local: NDArray[np.float64]  # (channels, 2), weight of the velocity in the activity around the electrode; a smooth field
    turn: NDArray[np.float64]  # (channels,), rad by which both are turned
    log_gain: NDArray[np.float64]  # (channels, 3), of LMP, beta and gamma, that it returns to
    gain_shift: NDArray[np.float64]  # (channels, 3), away from it
    log_electrode: NDArray[np.float64]  # (channels,), gain of everything that comes from tissue
    log_noise: NDArray[np.float64]  # (channels,), gain of the electrode's and the amplifier's noise
    nuisance: NDArray[np.float64]  # (channels, NUISANCES), sd 1; smooth fields
    state: NDArray[np.float64]  # (3, channels, STATES), of background, beta and gamma, norm about 1; smooth fields
    units: Units

    @property
    def amplitude_left(self) -> float:
        """Share of the units' amplitudes."""
        return float(np.exp(-self.days / _AMPLITUDE_LIFE_DAYS))

    @property
    def modulation_left(self) -> float:
        """Share of the LFP's modulation by movement."""
        return float(np.exp(-self.days / _MODULATION_LIFE_DAYS))


def array_of(settings: Settings, session: int) -> Array:
    """The array as implanted, then ``session`` steps of drift: a day each, without losses, where ``days_apart`` is 0."""
    array = implanted(settings, np.random.default_rng((settings.seed, 0)))
    for step in range(session):
        array = _later(settings, array, np.random.default_rng((settings.seed, 2, step)))
    return array


def implanted(settings: Settings, rng: np.random.Generator) -> Array:
    """An array on its first day, somewhere in its drift."""
    channels = settings.synthetic.channels
    place = PITCH_MM * grid(channels)
    lmp, local = _even(smooth(rng, place, 2)), _even(smooth(rng, place, 2))
    nuisance = smooth(rng, place, NUISANCES)
    state = smooth(rng, place, 3 * STATES).reshape(channels, 3, STATES).transpose(1, 0, 2) / np.sqrt(STATES)
    array = Array(
        days=0.0,
        dead=int(rng.integers(channels)),
        place_mm=place,
        lmp=lmp,
        local=local,
        turn=_TURN_RAD * smooth(rng, place, 1)[:, 0],
        log_gain=rng.normal(0.0, _GAIN_SD, (channels, 3)),
        gain_shift=rng.normal(0.0, _GAIN_SHIFT, (channels, 3)),
        log_electrode=rng.normal(0.0, _ELECTRODE_SHIFT, channels),
        log_noise=rng.normal(0.0, _ELECTRODE_SHIFT, channels),
        nuisance=nuisance,
        state=state,
        units=_no_units(),
    )
    live = np.delete(np.arange(channels, dtype=np.int32), array.dead)
    kinds = ((settings.synthetic.units, _SORTED_UV), (SMALL_PER_SORTED * settings.synthetic.units, _SMALL_UV))
    channel = rng.choice(live, sum(count for count, _ in kinds))  # some electrodes have several, some none
    return dataclasses.replace(array, units=_born(rng, array, channel, _amplitudes(rng, kinds)))


def smooth(rng: np.random.Generator, place_mm: NDArray[np.float64], fields: int) -> NDArray[np.float64]:
    """Random fields of sd 1 at some places, ``(places, fields)``: the correlation falls as a Gaussian of the distance.

    Sums of plane waves with random directions and lengths (Rahimi & Recht 2007): smooth, at any place, without a matrix to factor.
    """
    waves = rng.normal(0.0, 1 / _SMOOTH_MM, (fields, 2, _WAVES))  # rad/mm
    phase = rng.uniform(0, 2 * np.pi, (fields, 1, _WAVES))
    return np.sqrt(2 / _WAVES) * np.cos(place_mm @ waves + phase).sum(axis=2).T


def _even(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and covariance 1 over the array: no direction is missing, so that one array is about as good as another (chosen)."""
    left, _, right = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    return np.sqrt(len(vectors)) * left @ right


def _later(settings: Settings, array: Array, rng: np.random.Generator) -> Array:
    """The array one session later."""
    apart = settings.synthetic.days_apart
    days, channels, units = apart or 1.0, len(array.turn), array.units
    count = len(units.channel)
    units = dataclasses.replace(
        units,
        turn=_reverted(units.turn, rng.normal(size=count), _UNIT_TURN_RAD, days / _UNIT_TURN_DAYS),
        rate_shift=_reverted(units.rate_shift, rng.normal(size=count), _RATE_SHIFT, days / _RATE_DAYS),
    )
    array = dataclasses.replace(
        array,
        turn=_reverted(array.turn, smooth(rng, array.place_mm, 1)[:, 0], _TURN_RAD, days / _TURN_DAYS),
        gain_shift=_reverted(array.gain_shift, rng.normal(size=(channels, 3)), _GAIN_SHIFT, days / _GAIN_DAYS),
        units=units,
    )
    if not apart:
        return array
    steps = days / _ELECTRODE_DAYS
    lost = rng.random(count) < 1 - np.exp(-days / units.life_days)
    return dataclasses.replace(
        array,
        days=array.days + days,
        log_electrode=_reverted(array.log_electrode, rng.normal(size=channels), _ELECTRODE_SHIFT, steps),
        log_noise=_reverted(array.log_noise, rng.normal(size=channels), _ELECTRODE_SHIFT, steps),
        units=_replaced(units, _successors(settings, array, rng), lost),
    )


def _reverted(x: NDArray[np.float64], normal: NDArray[np.float64], sd: float, steps: float) -> NDArray[np.float64]:
    """An Ornstein-Uhlenbeck process of that sd after so many of its time constants (Uhlenbeck & Ornstein 1930)."""
    kept = np.exp(-steps)
    return kept * x + sd * np.sqrt(1 - kept**2) * normal


def _replaced(units: Units, others: Units, lost: NDArray[np.bool_]) -> Units:
    """A unit that is lost makes place for another one at its electrode; the other units of that electrode stay."""
    pairs = {field.name: (getattr(units, field.name), getattr(others, field.name)) for field in dataclasses.fields(Units)}
    return Units(**{name: np.where(lost if old.ndim == 1 else lost[:, None], new, old) for name, (old, new) in pairs.items()})


def _successors(settings: Settings, array: Array, rng: np.random.Generator) -> Units:
    sorted_units = settings.synthetic.units
    kinds = ((sorted_units, _SORTED_UV), (SMALL_PER_SORTED * sorted_units, _SMALL_UV))
    return _born(rng, array, array.units.channel, _amplitudes(rng, kinds))


def _amplitudes(rng: np.random.Generator, kinds: tuple[tuple[int, tuple[float, float]], ...]) -> NDArray[np.float64]:
    """Troughs in uV of so many units of each range, log-normal within it."""
    drawn = []
    for count, limits in kinds:
        low, high = ndtr(np.log(np.array(limits) / _AMPLITUDE_UV) / _AMPLITUDE_SD)
        drawn.append(_AMPLITUDE_UV * np.exp(_AMPLITUDE_SD * ndtri(rng.uniform(low, high, count))))
    return np.concatenate(drawn)


def _born(rng: np.random.Generator, array: Array, channel: NDArray[np.int32], trough_uv: NDArray[np.float64]) -> Units:
    """Units at these electrodes; they share part of their directions and nuisances with the tissue there."""
    count = len(channel)
    own, shared = np.sqrt(1 - _SHARED), np.sqrt(_SHARED)
    vector = shared * array.local[channel] + own * rng.normal(size=(count, 2))
    return Units(
        channel=channel,
        trough_uv=trough_uv,
        width_ms=rng.uniform(*_TROUGH_MS, count),
        angle=np.arctan2(vector[:, 1], vector[:, 0]),
        turn=rng.normal(0.0, _UNIT_TURN_RAD, count),
        log_rate=np.log(_RATE_HZ[0]) + rng.random(count) * np.log(_RATE_HZ[1] / _RATE_HZ[0]),
        rate_shift=rng.normal(0.0, _RATE_SHIFT, count),
        tuning=np.stack([rng.uniform(*_TUNING, count), rng.uniform(*_SPEED_TUNING, count)], axis=1),
        nuisance=shared * array.nuisance[channel] + own * rng.normal(size=(count, NUISANCES)),
        life_days=np.where(rng.random(count) < _SHORT_LIVED, *_LIFE_DAYS),
    )


def _no_units() -> Units:
    none: NDArray[Any] = np.zeros(0)
    return Units(**{field.name: none for field in dataclasses.fields(Units)})
