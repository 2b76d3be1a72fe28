"""Version 1: one unit an electrode, random walks over days, every electrode with a direction of its own.

All parameters are the constants below. They were set so that amplitudes and spectra look like an intracortical array's and ridge
regression with 10 lags of 20 ms is neither trivial nor saturated (R2 of the default held-out session, seeds 0 to 2: 0.56 to 0.66 from LFP
features of six bands, 0.65 to 0.68 from threshold crossings). With ``synthetic.days_apart`` units give way to others and electrodes age
between sessions.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from realm_edge.broadband import Broadband
from realm_edge.recording import Recording
from realm_edge.resample import to_counts
from realm_edge.settings import Settings
from realm_edge.synthetic.noise import filtered, grid, spread
from realm_edge.synthetic.reaches import LEAD_S, SPEED_SCALE_CM_S, STEP_HZ, reaches
from realm_edge.synthetic.session import UV_PER_COUNT, in_order, recorded, seconds_of, waveforms

_ARRAYS = 7  # (samples, channels) float32 at STEP_HZ that making the LFP holds at once
_NUISANCES, _NUISANCE_HZ = 3, 1.0  # slow latents unrelated to movement

_RATE_HZ = (3.0, 10.0)  # of a unit at rest, log-uniform
_TUNING = (0.2, 0.6)  # exponent for a velocity of SPEED_SCALE_CM_S in the preferred direction
_SPEED_TUNING = (0.0, 0.25)  # exponent for that speed in any direction
_NUISANCE_TUNING = 0.25  # sd of the exponent for a nuisance of one sd
_REFRACTORY_S = 2e-3
_SPIKE_UV = (60.0, 140.0)  # trough
_TROUGH_MS = (0.10, 0.18)  # half width
_BROADBAND_NOISE_UV = 10.0

_BACKGROUND_UV, _BACKGROUND_KNEE_HZ = 45.0, 1.0  # power falls with 1/f^2 above the knee
_BACKGROUND_REACH = 1.5  # electrode pitches over which the background's correlation falls to 1/e
_COMMON_UV = 40.0  # common-mode noise, same spectrum
_LMP_UV = 12.0  # for a velocity of SPEED_SCALE_CM_S in the preferred direction
_BETA_HZ, _BETA_UV = (15.0, 35.0), 14.0
_BETA_DEPTH = 0.5  # share of the beta amplitude lost at SPEED_SCALE_CM_S
_GAMMA_HZ, _GAMMA_UV = (70.0, 200.0), 4.0
_GAMMA_TUNING = 0.08  # exponent of the gamma amplitude, as _TUNING
_LFP_NUISANCE = 0.5  # sd of LMP (times _LMP_UV) and gamma exponent (times _GAMMA_TUNING) for a nuisance of one sd
_LINE_HZ, _LINE_UV, _LINE_THIRD_UV = 60.0, 15.0, 1.0
_ADC_NOISE_UV = 2.4  # RHD2164 (Intan data sheet)

_DRIFT_RAD, _DRIFT_GAIN = 0.12, 0.08  # sd per session, or a day, of preferred directions and of log gains; the same for LFP and units
# Random walks and losses of SyntheticSettings.days_apart, by day:
_UNIT_LIFE_DAYS = 37.5  # 67 % of the units of a Utah array were stable through 15 days, 31 % through 47 (Vaidya et al. 2014)
_ELECTRODE_GAIN = 0.05  # sd of the log gain; chosen, as the 5.5 % of spike amplitude within a session (Perge et al. 2013)
_ELECTRODE_NOISE = 0.1  # sd of the log amplitude; chosen


@dataclass(frozen=True)
class _Array:
    """One implanted array in one session. Angles in rad, gains relative to 1."""

    dead: int  # channel
    place: NDArray[np.float64]  # (channels, 2), electrode pitches
    angle: NDArray[np.float64]  # (channels,), preferred direction of LMP and gamma
    log_gain: NDArray[np.float64]  # (channels, 3), of LMP, beta and gamma
    log_electrode: NDArray[np.float64]  # (channels,), gain of everything that comes from tissue
    log_noise: NDArray[np.float64]  # (channels,), gain of the electrode's and the amplifier's noise
    nuisance: NDArray[np.float64]  # (channels, _NUISANCES), sd 1
    unit_channel: NDArray[np.int32]  # (units,)
    unit_angle: NDArray[np.float64]  # (units,)
    unit_log_rate: NDArray[np.float64]  # (units,), ln(Hz) at rest
    unit_tuning: NDArray[np.float64]  # (units, 2), to velocity and speed
    unit_nuisance: NDArray[np.float64]  # (units, _NUISANCES)
    waveforms: NDArray[np.float32]  # (units, samples), ADC counts for an electrode of gain 1


def generate(settings: Settings, session: int) -> tuple[Recording, Broadband]:
    """Make one session, as :func:`realm_edge.synthetic.generate` says; LFP at 1 kHz."""
    samples = round(seconds_of(settings, session, _ARRAYS * 4 * STEP_HZ) * STEP_HZ)
    rng = np.random.default_rng((settings.seed, 1, session))
    array = _array(settings, session)
    lead = round(LEAD_S * STEP_HZ)
    velocity = reaches(rng, samples + lead + 1)  # (samples + lead + 1, 2), cm/s
    latent = settings.synthetic.signal * velocity[lead : lead + samples] / SPEED_SCALE_CM_S
    nuisance = filtered(rng, samples, _NUISANCES, signal.butter(2, _NUISANCE_HZ, fs=STEP_HZ, output="sos"))
    spike_times = _spikes(rng, array, latent, nuisance)
    lfp = _lfp(rng, array, latent, nuisance)
    noise_seed = int(rng.integers(2**62))
    recording = recorded(settings, session, velocity[: samples + 1], lfp, STEP_HZ, spike_times, "realm_edge.synthetic")
    times, units = in_order(spike_times)
    live = np.arange(settings.synthetic.channels) != array.dead
    noise = (_BROADBAND_NOISE_UV / UV_PER_COUNT * np.exp(array.log_noise)).astype(np.float32)
    shapes = array.waveforms * np.exp(array.log_electrode).astype(np.float32)[array.unit_channel, None]
    return recording, Broadband(noise_seed, noise, live, times, units, array.unit_channel, shapes)


def _array(settings: Settings, session: int) -> _Array:
    """The array as implanted, then ``session`` steps of drift."""
    array = _implanted(settings, np.random.default_rng((settings.seed, 0)))
    for step in range(session):
        array = _drifted(settings, array, step)
    return array


def _drifted(settings: Settings, array: _Array, step: int) -> _Array:
    """The array one session later. A unit that is lost makes place for one that has nothing to do with it."""
    channels, units, days = settings.synthetic.channels, settings.synthetic.units, settings.synthetic.days_apart
    root = np.sqrt(days) if days else 1.0
    drift = np.random.default_rng((settings.seed, 2, step))
    array = dataclasses.replace(
        array,
        angle=array.angle + drift.normal(0.0, _DRIFT_RAD * root, channels),
        unit_angle=array.unit_angle + drift.normal(0.0, _DRIFT_RAD * root, units),
        log_gain=array.log_gain + drift.normal(0.0, _DRIFT_GAIN * root, (channels, 3)),
        unit_log_rate=array.unit_log_rate + drift.normal(0.0, _DRIFT_GAIN * root, units),
    )
    if not days:
        return array
    age = np.random.default_rng((settings.seed, 3, step))
    lost = age.random(units) < 1 - np.exp(-days / _UNIT_LIFE_DAYS)
    others = _implanted(settings, age)
    return dataclasses.replace(
        array,
        log_electrode=array.log_electrode + age.normal(0.0, _ELECTRODE_GAIN * root, channels),
        log_noise=array.log_noise + age.normal(0.0, _ELECTRODE_NOISE * root, channels),
        unit_angle=np.where(lost, others.unit_angle, array.unit_angle),
        unit_log_rate=np.where(lost, others.unit_log_rate, array.unit_log_rate),
        unit_tuning=np.where(lost[:, None], others.unit_tuning, array.unit_tuning),
        unit_nuisance=np.where(lost[:, None], others.unit_nuisance, array.unit_nuisance),
        waveforms=np.where(lost[:, None], others.waveforms, array.waveforms),
    )


def _implanted(settings: Settings, rng: np.random.Generator) -> _Array:
    channels, units = settings.synthetic.channels, settings.synthetic.units
    dead = int(rng.integers(channels))
    live = np.delete(np.arange(channels, dtype=np.int32), dead)
    log_rate = np.log(_RATE_HZ[0]) + rng.random(units) * np.log(_RATE_HZ[1] / _RATE_HZ[0])
    tuning = np.stack([rng.uniform(*_TUNING, units), rng.uniform(*_SPEED_TUNING, units)], axis=1)
    angle, unit_angle = rng.uniform(0, 2 * np.pi, channels), rng.uniform(0, 2 * np.pi, units)
    log_gain = rng.normal(0.0, 0.25, (channels, 3))
    nuisance, unit_nuisance = rng.normal(size=(channels, _NUISANCES)), rng.normal(0.0, _NUISANCE_TUNING, (units, _NUISANCES))
    # Units sit on different channels as long as there are enough.
    unit_channel = rng.permutation(live)[np.arange(units) % len(live)]
    width_ms, trough_uv = rng.uniform(*_TROUGH_MS, (units, 1)), rng.uniform(*_SPIKE_UV, (units, 1))
    shapes = waveforms(trough_uv / UV_PER_COUNT, width_ms, settings.spike.rate_hz)
    place, none = grid(channels), np.zeros(channels)
    return _Array(dead, place, angle, log_gain, none, none, nuisance, unit_channel, unit_angle, log_rate, tuning, unit_nuisance, shapes)


def _spikes(
    rng: np.random.Generator, array: _Array, latent: NDArray[np.float64], nuisance: NDArray[np.float32]
) -> tuple[NDArray[np.float64], ...]:
    """Poisson spikes of cosine-tuned units (Georgopoulos et al. 1982), thinned by the refractory period; s."""
    speed = np.linalg.norm(latent, axis=1)
    trains = []
    for unit, angle in enumerate(array.unit_angle):
        along = latent @ (np.cos(angle), np.sin(angle))
        exponent = array.unit_tuning[unit] @ (along, speed) + nuisance @ array.unit_nuisance[unit]
        probability = np.exp(array.unit_log_rate[unit] + exponent) / STEP_HZ
        fired = np.flatnonzero(rng.random(len(probability)) < probability)
        times = (fired + rng.random(len(fired))) / STEP_HZ
        trains.append(times[np.diff(times, prepend=-1.0) >= _REFRACTORY_S])
    return tuple(trains)


def _lfp(rng: np.random.Generator, array: _Array, latent: NDArray[np.float64], nuisance: NDArray[np.float32]) -> NDArray[np.int16]:
    """LFP ``(samples, channels)`` in ADC counts."""
    samples, channels = len(latent), len(array.angle)
    speed = np.linalg.norm(latent, axis=1).astype(np.float32)
    directions = np.stack([np.cos(array.angle), np.sin(array.angle)])  # (2, channels)
    # One drive for LMP and gamma: the velocity along the preferred direction, and the nuisances.
    drive = (latent @ directions + _LFP_NUISANCE * nuisance @ array.nuisance.T).astype(np.float32)  # (samples, channels)
    electrode = np.exp(array.log_electrode).astype(np.float32)
    gain = np.exp(array.log_gain).astype(np.float32) * electrode[:, None]

    uv = _background(rng, samples, channels) @ spread(array.place, _BACKGROUND_REACH)
    uv *= np.float32(_BACKGROUND_UV) * electrode
    common = np.float32(_COMMON_UV) * _background(rng, samples, 1)
    uv += common * rng.normal(1.0, 0.03, channels).astype(np.float32)
    uv += np.float32(_LMP_UV) * gain[:, 0] * drive
    beta = filtered(rng, samples, channels, signal.butter(2, _BETA_HZ, "bandpass", fs=STEP_HZ, output="sos")) @ spread(
        array.place, _BACKGROUND_REACH
    )
    uv += np.float32(_BETA_UV) * gain[:, 1] * beta * np.maximum(1 - np.float32(_BETA_DEPTH) * speed, 0.1)[:, None]
    gamma = filtered(rng, samples, channels, signal.butter(2, _GAMMA_HZ, "bandpass", fs=STEP_HZ, output="sos"))
    uv += np.float32(_GAMMA_UV) * gain[:, 2] * gamma * np.exp(np.float32(_GAMMA_TUNING) * drive)
    t = np.arange(samples) / STEP_HZ
    for harmonic, amplitude in ((1, _LINE_UV), (3, _LINE_THIRD_UV)):
        wave = np.sin(2 * np.pi * harmonic * _LINE_HZ * t + rng.uniform(0, 2 * np.pi)).astype(np.float32)
        uv += wave[:, None] * (amplitude * rng.uniform(0.7, 1.3, channels)).astype(np.float32)
    uv += np.float32(_ADC_NOISE_UV) * np.exp(array.log_noise).astype(np.float32) * rng.standard_normal(uv.shape, dtype=np.float32)
    uv[:, array.dead] = 0.0
    return to_counts(uv / np.float32(UV_PER_COUNT))


def _background(rng: np.random.Generator, samples: int, channels: int) -> NDArray[np.float32]:
    """Independent noise ``(samples, channels)`` of variance 1 with power 1 / (knee^2 + f^2)."""
    size = fft.next_fast_len(samples, real=True)
    white = fft.rfft(rng.standard_normal((channels, size), dtype=np.float32), axis=1)
    f = fft.rfftfreq(size, 1 / STEP_HZ)
    white *= (1 / np.hypot(_BACKGROUND_KNEE_HZ, f)).astype(np.float32)
    white[:, 0] = 0.0  # the amplifier is AC-coupled
    x = fft.irfft(white, size, axis=1)[:, :samples].T
    return np.ascontiguousarray(x / x.std(axis=0))
