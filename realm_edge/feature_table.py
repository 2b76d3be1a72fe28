"""Recordings that hold features instead of voltage: they enter at the decoder."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers import alignment, nwb
from realm_edge.readers.arrays import too_coarse
from realm_edge.readers.choices import pick
from realm_edge.readers.contents import Contents, Request
from realm_edge.readers.reading import fingerprint
from realm_edge.recording import Axes, BehaviorSeries
from realm_edge.segments import never_changes
from realm_edge.session import Session, save
from realm_edge.settings import Settings
from realm_edge.targets import check_parts, targets_of, unknown

_MAX_JITTER = 0.01  # of a bin, by which the clock of the features may stray
_SAME_LENGTH = 0.5  # of the longer of two series, which the shorter one lasts at least

Split = Callable[[int], tuple[int, int]]  # bins of a recording to the ends of its training and validation part


def read(path: Path, features: str, behavior: str | Axes | None, settings: Settings, split: Split) -> tuple[Session, float]:
    """Read one NWB 2 file; a bin is one row of the features, and its behaviour that at the row's time stamp.

    Args:
        features: name of the TimeSeries (rows, columns).
        behavior: name of the TimeSeries to decode; None takes the only other one. Axes: none is read, and targets of these are unknown.
        settings: ``behavior_transform`` and ``output_delay_ms`` count.
        split: of the recording into its parts.

    Returns:
        The session, held out and without LFP, and the seconds per bin. Rows of unknown behaviour have NaN targets. Columns that do not
        change in the training part are its bad channels.

    Raises:
        UserError: the file cannot be read or has no such series; features that are not finite or never change; a clock with gaps.
    """
    contents = _contents(path)
    inputs, times = _features(contents.behaviors, features, path)
    bin_s = _bin_s(times)
    notes = {"file": str(path), "sha256": fingerprint(path), "feature_series": features, **contents.provenance}
    train_end, validation_end = split(len(inputs))
    void = (times[:, None] > contents.invalid[:, 0]) & (times[:, None] - bin_s < contents.invalid[:, 1])  # (rows, intervals)
    valid = np.asarray(~void.any(axis=1))
    good = _good_columns(inputs[:train_end], valid[:train_end], f"{path}: {features}")
    if isinstance(behavior, Axes):
        targets, names, unit = unknown(len(inputs), behavior)
    else:
        name, found = _behavior(contents, features, behavior, path)
        label = f"{path}: {name}"
        at = times - settings.output_delay_ms / 1000
        notes["behavior_series"] = name
        _check_rates(found.times, times, label, features)
        spans = [(times[0] - bin_s, times[-1])]
        outside = alignment.checked(found.times, spans, "behaviour samples", "", 1 / bin_s, label, reference="features")
        notes |= {"behavior_outside": outside} if outside else {}
        edges = at[[train_end - 1, validation_end - 1]] if 0 < train_end < validation_end else np.zeros(0)
        targets, names, unit = targets_of(found, settings, at, edges, valid, valid, label, notes)
        check_parts(targets, names, {"training": train_end, "validation": validation_end, "test": len(targets)}, label, notes)
    session = Session(
        name=path.stem,
        heldout=True,
        synthetic=False,
        targets=targets,
        target_names=names,
        target_unit=unit,
        train_end=train_end,
        validation_end=validation_end,
        lfp=None,
        good_channels=good,
        features=inputs,
        counts=None,
        spike_source="none",
        spike_threshold=None,
        broadband=None,
        provenance=notes,
        starts=np.concatenate([[0], np.flatnonzero(np.diff(valid)) + 1]),
        valid=valid,
    )
    return session, bin_s


def write(out: Path, path: Path, features: str, behavior: str | Axes | None, settings: Settings, split: Split) -> float:
    """Write what :func:`read` gives as a session file; the seconds per bin."""
    session, bin_s = read(path, features, behavior, settings, split)
    save(session, out)
    return bin_s


def seconds_a_bin(path: Path, features: str) -> float:
    """Of a recording, the time between two rows.

    Raises:
        UserError: as :func:`read`.
    """
    return _bin_s(_features(_contents(path).behaviors, features, path)[1])


def _contents(path: Path) -> Contents:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return nwb.read(path, Request(0.0))


def _features(series: Mapping[str, Callable[[], BehaviorSeries]], name: str, path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(rows, columns) and the rows' times in s."""
    found = pick(series, name, "--features", str(path))[1]()
    if len(found.times) < 2:
        raise UserError(f"{path}: {name}: not a table of numbers (shape {found.values.shape}): choose another series")
    if not np.isfinite(found.values).all():
        row = int(np.argmax(~np.isfinite(found.values).all(axis=1)))
        raise UserError(f"{path}: {name}: row {row} is not finite: fill or crop it")
    steps = np.diff(found.times)
    if (np.abs(steps - steps.mean()) > _MAX_JITTER * steps.mean()).any():
        irregular = "its time stamps are not those of a regular series: crop or resample it"
        raise UserError(f"{path}: {name}: {too_coarse(found.times, _MAX_JITTER) or irregular}")
    return found.values, found.times


def _behavior(contents: Contents, features: str, behavior: str | None, path: Path) -> tuple[str, BehaviorSeries]:
    """The series that is decoded, and its name."""
    series = contents.behaviors
    others = [name for name in series if name != features]
    if behavior is None and len(others) != 1:
        raise UserError(f"{path}: {len(others)} series beside the features ({', '.join(sorted(others))}): choose one with --behavior")
    name, target = pick(series, others[0] if behavior is None else behavior, "--behavior", str(path))
    if name == features:
        raise UserError(f"{path}: {name}: it cannot be features and behaviour at once: choose another series with --behavior")
    return name, target()


def _good_columns(training: NDArray[np.float32], valid: NDArray[np.bool_], label: str) -> NDArray[np.bool_]:
    """Columns that change in the training part; training gives the others no weight, as it does with dead channels."""
    still = never_changes(training[valid] if valid.any() else training)
    if still.all():
        raise UserError(
            f"{label}: none of its {len(still)} column(s) changes in the training part by more than a millionth (of 1, or of its mean): "
            "nothing to decode from: choose another series, or multiply small values before they are stored"
        )
    return ~still


def _check_rates(behavior: NDArray[np.float64], features: NDArray[np.float64], label: str, name: str) -> None:
    """Series of as many samples that last different times: they were recorded together, and one of the rates is wrong."""
    lasts = sorted(float(times[-1] - times[0]) for times in (behavior, features))
    if len(behavior) == len(features) and lasts[0] < _SAME_LENGTH * lasts[1]:
        raise UserError(
            f"{label}: its {len(behavior)} samples last {behavior[-1] - behavior[0]:.6g} s, and as many rows of {name} "
            f"{features[-1] - features[0]:.6g} s: correct the rate of one of them"
        )


def _bin_s(times: NDArray[np.float64]) -> float:
    return float(times[-1] - times[0]) / (len(times) - 1)
