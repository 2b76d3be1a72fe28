"""Both versions of the generator against the literature, as Markdown: python tests/benchmarks/bench_generator.py [ARRAYS [DAYS]]

First what the array alone says, in a minute of one core. Then, with ARRAYS (of seeds 0 on, of the default size), what decoders make of
it: sessions of 240 s on day 0 and on day DAYS (76) with the same movements, features of the preset, threshold crossings, and a Wiener
filter of ten lags. An array takes about a minute and a half of one core and version. Anchors and sources: docs/generator.md.
"""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from realm_edge import synthetic
from realm_edge.recording import Recording
from realm_edge.settings import Settings, SyntheticSettings
from realm_edge.synthetic import array2, version1
from realm_edge.synthetic.noise import grid
from realm_edge.synthetic.session import UV_PER_COUNT
from tests.generated import aged_settings, fitted, masked_r2, r2_of, sessions_of

SURVIVAL_DAYS = (15, 47, 106, 270)
MONTH_DAYS = 30.0
VERSIONS = (1, 2)
Table = dict[str, str]  # a version's cells, by row


def of_the_array(version: int) -> Table:
    """Without decoding anything."""
    troughs, recording, fast = _troughs(version, 1.0, 0), synthetic.generate(_default(version), 0)[0], "none"
    if recording.lfp_rate > 2000:
        band = signal.butter(2, (300, 1000), "bandpass", fs=recording.lfp_rate, output="sos")
        fast = f"{np.median(signal.sosfilt(band, recording.lfp * UV_PER_COUNT, axis=0).std(axis=0)):.1f} uV"
    return {
        f"units alive after {', '.join(map(str, SURVIVAL_DAYS))} days": _list(
            100 * np.mean(_troughs(version, days, 0) == _troughs(version, days, 1)) for days in SURVIVAL_DAYS
        ),
        "units below 60 uV": f"{100 * np.mean(troughs < 60):.0f} %",
        "correlation of LFP directions, neighbours and five pitches away": _list(_correlations(version), ".2f"),
        "change of rate over 10 minutes without movement": f"{100 * _rate_change(_still(version)):.0f} %",
        "LFP of 300 to 1,000 Hz": fast,
    }


def _list(values: Iterator[float], form: str = ".0f") -> str:
    return " / ".join(format(value, form) for value in values)


def _default(version: int) -> Settings:
    return Settings(synthetic=SyntheticSettings(version=version, seconds=20.0))


def _sized(version: int, units: int, days: float, seed: int = 0) -> Settings:
    """With so many units, small ones included, on 64 channels."""
    units = units if version == 1 else units // (1 + array2.SMALL_PER_SORTED)
    return Settings(seed=seed, synthetic=SyntheticSettings(version=version, units=units, channels=64, days_apart=days))


def _troughs(version: int, days: float, session: int) -> NDArray[np.float64]:
    settings = _sized(version, 1200, float(days))
    if version == 1:
        return -UV_PER_COUNT * version1._array(settings, session).waveforms.min(axis=1).astype(np.float64)
    return array2.array_of(settings, session).units.trough_uv


def _correlations(version: int) -> Iterator[float]:
    """Mean over 20 arrays of what the directions of electrodes have in common, at one pitch and at five."""
    place = grid(64)
    pitches = np.linalg.norm(place[:, None] - place, axis=-1)
    vectors = []
    for seed in range(20):
        settings = _sized(version, 6, 0.0, seed)
        if version == 1:
            angle = version1._array(settings, 0).angle
            vectors.append(np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=1))
        else:
            vectors.append(array2.array_of(settings, 0).lmp)
    for apart in (1, 5):
        yield float(np.mean([(vector @ vector.T / 2)[np.isclose(pitches, apart)].mean() for vector in vectors]))


def _still(version: int) -> Recording:
    """Ten minutes in which no movement modulates anything."""
    sizes = SyntheticSettings(version=version, seconds=600.0, channels=4, units=60, signal=0.0)
    return synthetic.generate(Settings(synthetic=sizes), 0)[0]


def _rate_change(recording: Recording) -> float:
    """Of sorted units from the first to the last fifth, mean of the amount, relative to the mean rate."""
    counts = np.array([np.histogram(times, 5, (0, recording.seconds))[0] for times in recording.spike_times])
    return float(np.mean(np.abs(counts[:, 0] - counts[:, -1]) / counts.mean(axis=1)))


def of_decoders(version: int, arrays: int, days: float) -> Table:
    """What a decoder makes of it, mean over arrays."""
    rows = []
    for seed in range(arrays):
        rows.append(_scores(version, seed, days))
        print(f"version {version}, array {seed}: {rows[-1]}", file=sys.stderr, flush=True)
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    ratios = [row["features first"] / row["counts first"] for row in rows]
    spread = f"{np.mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    table = {"R2 on day 0, LFP and spikes; ratio": f"{mean['features first']:.2f}, {mean['counts first']:.2f}; {spread}"}
    for inputs, what in (("features", "LFP"), ("counts", "spikes")):
        first, fixed, refitted = (mean[f"{inputs} {when}"] for when in ("first", "fixed", "refitted"))
        table[f"{what}, fixed: R2 left on day {days:g}"] = f"{100 * fixed / first:.0f} %"
        table[f"{what}, refitted: loss a month"] = f"{100 * (1 - (refitted / first) ** (MONTH_DAYS / days)):.1f} %"
    table["R2 of a masked bin from its neighbours"] = f"{mean['masked']:.2f}"
    return table


def _scores(version: int, seed: int, days: float) -> dict[str, float]:
    """R2 of one array."""
    first, later = (next(sessions_of(aged_settings(version, seed, at), [1])) for at in (0.0, days))
    found = {"masked": masked_r2(first.features, first.train_end)}
    for name in ("features", "counts"):
        of_first, of_later = getattr(first, name), getattr(later, name)
        fixed = fitted(first, of_first)
        found[f"{name} first"] = r2_of(fixed, first, of_first)
        found[f"{name} fixed"] = r2_of(fixed, later, of_later)
        found[f"{name} refitted"] = r2_of(fitted(later, of_later), later, of_later)
    return {name: round(value, 3) for name, value in found.items()}


def main(arrays: int = 0, days: float = 76.0) -> None:
    tables = [of_the_array(version) for version in VERSIONS]
    if arrays:
        tables = [table | of_decoders(version, arrays, days) for version, table in zip(VERSIONS, tables, strict=True)]
    print("| | version 1 | version 2 |\n|---|---|---|")
    for row in tables[0]:
        print(f"| {row} | {' | '.join(table[row] for table in tables)} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *map(float, sys.argv[2:3]))
