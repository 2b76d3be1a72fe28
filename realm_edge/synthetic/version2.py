"""Version 2: what the literature says of arrays, units and the LFP, as far as figures were found (``docs/generator.md``).

Directions are smooth over the tissue, and units nearby share them. The activity of the tissue around an electrode drives its units'
directions, the power of gamma and the background of small spikes, so that LFP and spikes go together beyond the movement. Spikes reach
into the LFP by their own waveforms and a slow after-potential. Power rises and falls slowly, over many electrodes at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from realm_edge.broadband import ACTIVITY_HZ, FIELD_HZ, Broadband, add_events
from realm_edge.recording import Recording
from realm_edge.resample import to_counts
from realm_edge.settings import Settings
from realm_edge.synthetic.array2 import NUISANCES, STATES, Array, array_of
from realm_edge.synthetic.noise import filtered, spread
from realm_edge.synthetic.reaches import LEAD_S, SPEED_SCALE_CM_S, STEP_HZ, reaches
from realm_edge.synthetic.session import UV_PER_COUNT, in_order, recorded, seconds_of, waveforms

_BYTES = 20_000  # per channel and second, that making the LFP holds at once: two tables at FIELD_HZ and some at ACTIVITY_HZ
_REFRACTORY_S = 2e-3
_NUISANCE_HZ, _STATE_HZ = 1.0, 0.5  # upper ends of the slow latents

# Within a session (Perge et al. 2013): so many units change rate, or amplitude, by so much of the mean; in so many sessions amplitudes
# move together.
_RATE_CHANGES, _RATE_CHANGE = 0.84, 0.49
_AMPLITUDE_CHANGES, _AMPLITUDE_CHANGE = 0.74, 0.055
_TOGETHER = 0.4

_UNIT_NUISANCE = 0.25  # sd of the exponent of a unit's rate for a nuisance of one sd
# Exponents of the rate of all small units around an electrode: for SPEED_SCALE_CM_S along a field of 1, in any direction, for a nuisance.
_LOCAL_TUNING, _LOCAL_SPEED, _LOCAL_NUISANCE = 0.2, 0.1, 0.2
_NOISE_UV = 6.0  # of electrode and amplifier, up to half of 30 kHz, where ...
_HASH_UV = 8.0  # ... spikes too small to tell apart add this at rest: together 10 uV, as in version 1
_NOISE_BAND_HZ = 15_000.0

_TISSUE_HZ = 2000  # of background, LMP, beta and gamma, which have next to nothing above 1 kHz; spikes and noise are made at FIELD_HZ
_BACKGROUND_UV = 45.0
# Power falls with 1/f^2 above the first and 1/f^4 above the second (Miller et al. 2009: 2.0 and 4.0, knee at 70 Hz).
_BACKGROUND_KNEES_HZ = (1.0, 70.0)
_BACKGROUND_MM = 0.6  # over which the background's correlation falls to 1/e
_COMMON_UV = 40.0  # common-mode noise, same spectrum
_LMP_UV = 9.0  # for a velocity of SPEED_SCALE_CM_S along a field of 1
_LFP_NUISANCE = 0.5  # sd of the LMP, times _LMP_UV, for a nuisance of one sd
_BETA_HZ, _BETA_UV = (15.0, 35.0), 14.0
_BETA_DEPTH = 0.5  # share of the beta amplitude lost at SPEED_SCALE_CM_S
_GAMMA_HZ, _GAMMA_UV = (70.0, 200.0), 4.0
_GAMMA_EXPONENT = 0.5  # gamma's power follows the rate around the electrode
_STATE_SD = (0.6, 0.6, 0.4)  # of the log amplitudes of background, beta and gamma (chosen: see the predictability of a masked bin)
_LINE_HZ, _LINE_UV, _LINE_THIRD_UV = 60.0, 15.0, 1.0

_AFTER_SHARE, _AFTER_RISE_MS, _AFTER_FALL_MS, _AFTER_MS = 0.1, 0.5, 2.5, 12.0  # a spike's slow after-potential (chosen)
_SPIKE_REACH_S = 0.02  # before and after which a spike leaves nothing in the LFP
_PHASES = 8  # places between two samples at FIELD_HZ at which a spike may begin
_ANTIALIAS_HZ, _ANTIALIAS_TAPS = 1700.0, 129  # low-pass of the spikes in the LFP


@dataclass(frozen=True)
class _Drives:
    """What a session's signals follow, ``(steps + 1, channels)`` float32 at ACTIVITY_HZ, amplitudes in uV."""

    background: NDArray[np.float32]
    lmp: NDArray[np.float32]
    beta: NDArray[np.float32]
    gamma: NDArray[np.float32]
    noise: NDArray[np.float32]  # electrode, amplifier and small spikes up to _NOISE_BAND_HZ


def generate(settings: Settings, session: int) -> tuple[Recording, Broadband]:
    """Make one session, as :func:`realm_edge.synthetic.generate` says; LFP at 4 kHz."""
    steps = round(seconds_of(settings, session, _BYTES) * ACTIVITY_HZ)
    rng = np.random.default_rng((settings.seed, 1, session))
    array = array_of(settings, session)
    stride, lead = STEP_HZ // ACTIVITY_HZ, round(LEAD_S * STEP_HZ)
    velocity = reaches(rng, stride * steps + lead + 1)  # cm/s
    latent = settings.synthetic.signal * velocity[lead::stride] / SPEED_SCALE_CM_S  # (steps + 1, 2)
    nuisance = _slow(rng, steps + 1, NUISANCES, _NUISANCE_HZ)

    trains, gains = _spikes(rng, array, latent, nuisance)
    times, units = in_order(trains)
    spike_gain = np.concatenate(gains)[np.argsort(np.concatenate(trains), kind="stable")]
    drives = _drives(rng, array, latent, nuisance)
    lfp, field = _lfp(rng, array, drives, times, units, spike_gain)
    noise_seed = int(rng.integers(2**62))

    sorted_times = trains[: settings.synthetic.units]
    origin = "realm_edge.synthetic, version 2"
    recording = recorded(settings, session, velocity[: stride * steps + 1], lfp, FIELD_HZ, sorted_times, origin)
    share = np.sqrt(settings.spike.rate_hz / 2 / _NOISE_BAND_HZ)  # of the noise that is left below half the rate
    rest = drives.noise.mean(axis=0)
    shapes = waveforms(_troughs(array)[:, None] / UV_PER_COUNT, array.units.width_ms[:, None], settings.spike.rate_hz)
    return recording, Broadband(
        seed=noise_seed,
        noise=(share / UV_PER_COUNT * rest).astype(np.float32),
        live=np.arange(settings.synthetic.channels) != array.dead,
        spike_times=times,
        spike_units=units,
        unit_channels=array.units.channel,
        waveforms=shapes,
        field=field,
        activity=drives.noise / rest,
        spike_gain=spike_gain,
    )


def _slow(rng: np.random.Generator, steps: int, latents: int, below_hz: float) -> NDArray[np.float32]:
    return filtered(rng, steps, latents, signal.butter(2, below_hz, fs=ACTIVITY_HZ, output="sos"))


def _troughs(array: Array) -> NDArray[np.float64]:
    """(units,), uV on this day."""
    return array.units.trough_uv * array.amplitude_left * np.exp(array.log_electrode[array.units.channel])


def _spikes(
    rng: np.random.Generator, array: Array, latent: NDArray[np.float64], nuisance: NDArray[np.float32]
) -> tuple[tuple[NDArray[np.float64], ...], tuple[NDArray[np.float32], ...]]:
    """Poisson spikes of cosine-tuned units (Georgopoulos et al. 1982), thinned by the refractory period: times in s, and gains."""
    units, speed = array.units, np.linalg.norm(latent, axis=1)
    count = len(units.channel)
    rate_halves = _halves(rng, count, _RATE_CHANGES, _RATE_CHANGE)
    gain_halves = _halves(rng, count, _AMPLITUDE_CHANGES, _AMPLITUDE_CHANGE)
    if rng.random() < _TOGETHER:
        gain_halves = np.abs(gain_halves) * rng.choice([-1, 1])
    grid = np.arange(len(latent)) / ACTIVITY_HZ
    course = np.cos(np.pi * grid / grid[-1])  # from the session's start to its end
    trains, gains = [], []
    for unit, angle in enumerate(units.angle + units.turn):
        along = latent @ (np.cos(angle), np.sin(angle))
        exponent = units.tuning[unit] @ (along, speed) + _UNIT_NUISANCE * nuisance @ units.nuisance[unit]
        rate = np.exp(units.log_rate[unit] + units.rate_shift[unit] + exponent) * (1 + rate_halves[unit] * course)
        # Equal chances over the expected number of spikes, which is known at every step.
        expected = np.concatenate([[0.0], np.cumsum(rate[1:] + rate[:-1])]) / (2 * ACTIVITY_HZ)
        times = np.interp(np.sort(rng.uniform(0, expected[-1], rng.poisson(expected[-1]))), expected, grid)
        trains.append(times[np.diff(times, prepend=-1.0) >= _REFRACTORY_S])
        gains.append((1 + gain_halves[unit] * np.cos(np.pi * trains[-1] / grid[-1])).astype(np.float32))
    return tuple(trains), tuple(gains)


def _halves(rng: np.random.Generator, units: int, share: float, change: float) -> NDArray[np.float64]:
    """Half of what each unit changes by from a session's start to its end, relative to its mean, ``(units,)``."""
    size = rng.uniform(0.25, 1.75, units) * change / 2
    return np.where(rng.random(units) < share, size * rng.choice([-1, 1], units), 0.0)


def _drives(rng: np.random.Generator, array: Array, latent: NDArray[np.float64], nuisance: NDArray[np.float32]) -> _Drives:
    steps, speed, left = len(latent), np.linalg.norm(latent, axis=1)[:, None], array.modulation_left
    gain = np.exp(array.log_gain + array.gain_shift)  # (channels, 3)
    tissue = np.exp(array.log_electrode)
    state = [sd * _slow(rng, steps, STATES, _STATE_HZ) @ weight.T for sd, weight in zip(_STATE_SD, array.state, strict=True)]
    disturbed = nuisance @ array.nuisance.T  # (steps, channels)
    lmp = left * latent @ _turned(array.lmp, array.turn).T + _LFP_NUISANCE * disturbed
    local = left * (_LOCAL_TUNING * latent @ _turned(array.local, array.turn).T + _LOCAL_SPEED * speed) + _LOCAL_NUISANCE * disturbed
    amplitudes: dict[str, NDArray[np.floating]] = {
        "background": _BACKGROUND_UV * tissue * np.exp(state[0]),
        "lmp": _LMP_UV * gain[:, 0] * tissue * lmp,
        "beta": _BETA_UV * gain[:, 1] * tissue * np.maximum(1 - _BETA_DEPTH * speed, 0.1) * np.exp(state[1]),
        "gamma": _GAMMA_UV * gain[:, 2] * tissue * np.exp(_GAMMA_EXPONENT * local + state[2]),
        "noise": np.sqrt((_NOISE_UV * np.exp(array.log_noise)) ** 2 + (_HASH_UV * tissue) ** 2 * np.exp(local)),
    }
    return _Drives(**{name: values.astype(np.float32) for name, values in amplitudes.items()})


def _turned(vector: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, cos, sin = vector[:, 0], vector[:, 1], np.cos(angle), np.sin(angle)
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)


def _lfp(
    rng: np.random.Generator,
    array: Array,
    drives: _Drives,
    times: NDArray[np.float64],
    units: NDArray[np.int32],
    spike_gain: NDArray[np.float32],
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """LFP, and the same without the spikes' waveforms and the noise; ``(samples, channels)`` in ADC counts at FIELD_HZ."""
    steps, channels = len(drives.lmp) - 1, len(array.turn)
    mixing = spread(array.place_mm, _BACKGROUND_MM)
    background, common = _Running(_background_sos()), _Running(_background_sos())
    beta, gamma = (_Running(signal.butter(2, band, "bandpass", fs=_TISSUE_HZ, output="sos")) for band in (_BETA_HZ, _GAMMA_HZ))
    common_gain = (_COMMON_UV * rng.normal(1.0, 0.03, channels)).astype(np.float32)
    line = np.array([[_LINE_UV], [_LINE_THIRD_UV]]) * rng.uniform(0.7, 1.3, (2, channels))
    line_phase = rng.uniform(0, 2 * np.pi, 2)
    after, shapes = _after_potentials(array), _spikes_in_lfp(array)
    noise_share = np.float32(np.sqrt(FIELD_HZ / 2 / _NOISE_BAND_HZ))
    lfp, field = (np.empty((steps * FIELD_HZ // ACTIVITY_HZ, channels), np.int16) for _ in range(2))
    last = np.zeros((1, channels), np.float32)  # of the tissue's signal, uV
    for first in range(0, steps, ACTIVITY_HZ):  # a second at a time
        rows = slice(first, min(first + ACTIVITY_HZ, steps) + 1)
        samples = (rows.stop - rows.start - 1) * _TISSUE_HZ // ACTIVITY_HZ
        white = rng.standard_normal((3, channels, samples), dtype=np.float32)  # filters are fastest along the last axis
        tissue = (mixing.T @ background(white[0])).T * _between(drives.background[rows], _TISSUE_HZ // ACTIVITY_HZ)
        tissue += common(rng.standard_normal((1, samples), dtype=np.float32)).T * common_gain
        tissue += _between(drives.lmp[rows], _TISSUE_HZ // ACTIVITY_HZ)
        tissue += (mixing.T @ beta(white[1])).T * _between(drives.beta[rows], _TISSUE_HZ // ACTIVITY_HZ)
        tissue += gamma(white[2]).T * _between(drives.gamma[rows], _TISSUE_HZ // ACTIVITY_HZ)
        uv = _between(np.concatenate([last, tissue]), FIELD_HZ // _TISSUE_HZ)
        last = tissue[-1:]

        here = slice(first * FIELD_HZ // ACTIVITY_HZ, first * FIELD_HZ // ACTIVITY_HZ + len(uv))
        turns = np.arange(here.start, here.stop)[:, None] / FIELD_HZ * _LINE_HZ * np.array([1, 3])
        uv += np.sin(2 * np.pi * turns + line_phase).astype(np.float32) @ line.astype(np.float32)
        near = slice(*np.searchsorted(times, (here.start / FIELD_HZ - _SPIKE_REACH_S, here.stop / FIELD_HZ + _SPIKE_REACH_S)))
        spiked, gain = units[near], spike_gain[near, None]
        onset, phases = np.divmod(np.rint(times[near] * FIELD_HZ * _PHASES).astype(np.int64) - here.start * _PHASES, _PHASES)
        channel = array.units.channel[spiked]
        add_events(uv, onset, channel, gain * after[spiked])
        uv[:, array.dead] = 0.0
        field[here] = to_counts(uv / np.float32(UV_PER_COUNT))
        add_events(uv, onset - _ANTIALIAS_TAPS // 2 // _PHASES, channel, gain * shapes[spiked, phases])
        noise = noise_share * rng.standard_normal(uv.shape, dtype=np.float32)
        uv += noise * _between(drives.noise[rows], FIELD_HZ // ACTIVITY_HZ)
        uv[:, array.dead] = 0.0
        lfp[here] = to_counts(uv / np.float32(UV_PER_COUNT))
    return lfp, field


class _Running:
    """A filter along the last axis that goes on where it stopped; its output has variance 1 for white noise of variance 1."""

    def __init__(self, sos: NDArray[np.float64]) -> None:
        response = signal.sosfilt(sos, np.eye(1, _TISSUE_HZ)[0])  # of a second
        scale = np.ones((len(sos), 6))
        scale[0, :3] /= np.linalg.norm(response)
        self._sos = (sos * scale).astype(np.float32)
        self._state: NDArray[np.float32] | None = None

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._state is None:
            self._state = np.zeros((len(self._sos), len(x), 2), np.float32)
        y, self._state = signal.sosfilt(self._sos, x, axis=-1, zi=self._state)
        return y


def _background_sos() -> NDArray[np.float64]:
    """Two first-order low-passes."""
    poles = np.exp(-2 * np.pi * np.array(_BACKGROUND_KNEES_HZ) / _TISSUE_HZ)
    return np.array([[1.0, 0.0, 0.0, 1.0, -poles.sum(), poles.prod()]])


def _between(grid: NDArray[np.float32], ratio: int) -> NDArray[np.float32]:
    """Linear interpolation: ``(n + 1, channels)`` to ``(n * ratio, channels)``."""
    weight = (np.arange(ratio) / ratio).astype(np.float32)[:, None]
    return (grid[:-1, None] + weight * np.diff(grid, axis=0)[:, None]).reshape(-1, grid.shape[1])


def _after_potentials(array: Array) -> NDArray[np.float32]:
    """(units, samples) at FIELD_HZ, uV: a rise and a slower fall."""
    t = np.arange(round(_AFTER_MS * FIELD_HZ / 1000)) / FIELD_HZ * 1000  # ms
    shape = np.exp(-t / _AFTER_FALL_MS) - np.exp(-t / _AFTER_RISE_MS)
    return (-_AFTER_SHARE * _troughs(array)[:, None] * shape / shape.max()).astype(np.float32)


def _spikes_in_lfp(array: Array) -> NDArray[np.float32]:
    """(units, _PHASES, samples) at FIELD_HZ, uV: waveforms below _ANTIALIAS_HZ, by the place between two samples at which they begin.

    They begin ``_ANTIALIAS_TAPS // 2 // _PHASES`` samples before the spike: the low-pass has no delay.
    """
    rate = FIELD_HZ * _PHASES
    whole = waveforms(_troughs(array)[:, None], array.units.width_ms[:, None], rate)
    taps = signal.firwin(_ANTIALIAS_TAPS, _ANTIALIAS_HZ, fs=rate)
    low = signal.fftconvolve(whole, taps[None], axes=1)
    samples = -(-(low.shape[1] + _PHASES) // _PHASES)
    padded = np.pad(low, ((0, 0), (_PHASES, samples * _PHASES - low.shape[1])))
    at = _PHASES + _PHASES * np.arange(samples) - np.arange(_PHASES)[:, None]  # (_PHASES, samples)
    return padded[:, at].astype(np.float32)
