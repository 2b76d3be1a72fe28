"""Recordings of Flint, Lindberg, Jordan, Miller and Slutzky (2012), from the DREAM collection at CRCNS: ``Flint_2012_e1..e5.mat``.

Structs as MATLAB 5 saves them: ``Subject`` (one per session of that day) -> ``Trial`` -> ``Time`` (s, 100 Hz), ``HandVel``
(samples, 2 or more), ``TargetPos``, ``Condition``, and ``Neuron``, whose first field holds spike times (s, on the clock of ``Time``)
and whose ``LFP`` holds the trial's samples at 2 kHz, or nothing where another neuron of the same electrode holds them already.
Trials follow one another on one clock.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from realm_edge.errors import UserError
from realm_edge.readers.arrays import behavior_values, check_spikes, check_times
from realm_edge.readers.clock import Clock
from realm_edge.readers.contents import Contents, Request, Signal, Units, known
from realm_edge.recording import BehaviorSeries

_LFP_RATE = 2000.0  # Hz
_SERIES = "hand_velocity"

Struct = dict[str, Any]


def read(path: Path, request: Request) -> Contents:
    """Read one session.

    Its only behaviour series is ``hand_velocity``, the first two columns of ``HandVel``; the file does not say in what unit.
    LFP channels are the neurons that have LFP. Neither does the file say its unit. Samples that are missing between two trials
    (up to ``request.max_gap_s``) are filled with the one before, longer ones are pauses, and the same time at both ends of an overlap is
    taken from the earlier trial. The trials are a table of intervals.

    Raises:
        UserError: not such a file, several sessions without a choice, or trials that overlap.
    """
    try:
        trials = _trials(_load(path), request.session, path)
        behavior = _behavior(trials, path)
        signal = _signal(trials, request.max_gap_s, path)
        units = Units(_spikes(trials, path))
        times = np.array([[_times(trial)[0], _times(trial)[-1]] for trial in trials], np.float64)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not laid out as Flint 2012 ({type(error).__name__}: {reason}): convert it to .npz") from error
    return Contents(
        name=path.stem,
        lfp={signal.series: known(signal)},
        behaviors={_SERIES: known(behavior)},
        units=known(units),
        intervals={"trials": times[times[:, 1] > times[:, 0]]},
        provenance={"trials": str(len(trials))},
    )


def _load(path: Path) -> list[Struct]:
    """The sessions of a file."""
    try:
        content = loadmat(path, simplify_cells=True, variable_names=["Subject"])
    except NotImplementedError as error:  # what scipy says to HDF5
        raise UserError(
            f"{path}: a MATLAB 7.3 file, and no recording by itself: for Makin and O'Doherty's data name the .nwb beside it, "
            "else convert it to .npz"
        ) from error
    except Exception as error:  # scipy raises whatever it stumbles upon in a broken file
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not readable as a MATLAB file ({type(error).__name__}: {reason}): download it again") from error
    if "Subject" not in content:
        raise UserError(f"{path}: no struct 'Subject': not a file of Flint 2012: convert it to .npz")
    return _list(content["Subject"])


def _trials(sessions: list[Struct], wanted: int | None, path: Path) -> list[Struct]:
    if wanted is None and len(sessions) > 1:
        raise UserError(
            f"{path}: it holds {len(sessions)} sessions: make a recording of each, "
            f"with 'realm-edge data convert {path.name} {path.stem}_1.realm --session 1' and so on"
        )
    number = 1 if wanted is None else wanted
    if not 1 <= number <= len(sessions):
        raise UserError(f"{path}: no session {number}: use --session with 1 to {len(sessions)}")
    trials = _list(sessions[number - 1]["Trial"])
    if not trials:
        raise UserError(f"{path}: session {number} has no trials: nothing to decode")
    return trials


def _behavior(trials: list[Struct], path: Path) -> BehaviorSeries:
    times = np.concatenate([_times(trial) for trial in trials])
    values = np.concatenate([np.reshape(trial["HandVel"], (len(_times(trial)), -1))[:, :2] for trial in trials])
    if values.shape[1] != 2 or values.dtype.kind not in "iuf":
        raise UserError(f"{path}: HandVel has {values.shape[1]} columns of type {values.dtype}, expected two of real numbers")
    ends = np.maximum.accumulate(np.concatenate([[-np.inf], *(np.full(len(_times(trial)), _times(trial)[-1]) for trial in trials)]))
    first = np.cumsum([0, *(len(_times(trial)) for trial in trials[:-1])])
    before = np.repeat(ends[first], [len(_times(trial)) for trial in trials])  # the end of the trials before each sample's own
    times, values = times[times > before], values[times > before]  # the same time at both ends of an overlap: of the earlier trial
    times = check_times(times, len(values), f"{path}: Time")
    return BehaviorSeries(behavior_values(values, f"{path}: HandVel"), times, (f"{_SERIES}_x", f"{_SERIES}_y"), "a.u.")


def _signal(trials: list[Struct], max_gap_s: float, path: Path) -> Signal:
    """LFP of all trials on one clock."""
    has_lfp = [bool(np.size(neuron["LFP"])) for neuron in _list(trials[0]["Neuron"])]
    if not any(has_lfp):
        raise UserError(f"{path}: no LFP: no Neuron of the first trial has any")
    parts: list[NDArray] = []
    starts, gaps = [(0, float(_times(trials[0])[0]))], []
    end = 0  # samples so far, with those that fill gaps
    for index, trial in enumerate(trials):
        label = f"{path}: trial {index + 1}"
        columns = [np.atleast_1d(neuron["LFP"]) for neuron in _list(trial["Neuron"])]
        if [bool(column.size) for column in columns] != has_lfp:
            raise UserError(f"{label}: other neurons have LFP than in the first trial: remove the trial")
        lengths = {column.size for column in columns if column.size}
        if len(lengths) > 1:
            raise UserError(f"{label}: its channels have {min(lengths)} to {max(lengths)} samples of LFP: remove the trial")
        block = np.stack([column for column in columns if column.size], axis=1)
        first, start = starts[-1]
        missing = round((float(_times(trial)[0]) - start) * _LFP_RATE) - (end - first)
        if -missing / _LFP_RATE > max_gap_s:
            raise UserError(
                f"{label}: its clock has overlaps: it starts {-1e3 * missing / _LFP_RATE:.1f} ms before the end of the one before, "
                f"more than the {1e3 * max_gap_s:g} ms of a bin: remove what is on the shorter side"
            )
        if missing / _LFP_RATE > max_gap_s:
            starts.append((end, float(_times(trial)[0])))
        elif missing > 0:
            gaps.append((sum(map(len, parts)) - 1, missing))
            end += missing
        block = block[max(0, -missing) :]
        parts.append(block)
        end += len(block)
    after, filled = (np.array(column, np.int64) for column in (zip(*gaps, strict=True) if gaps else ((), ())))
    data = np.concatenate(parts)
    channels = data.shape[1]
    return Signal(
        series="Neuron.LFP",
        data=data,
        clock=Clock(_LFP_RATE, end, tuple(starts), after, filled),
        gain=np.ones(channels),
        offset=np.zeros(channels),
        unit="a.u.",
        channels=tuple(str(channel) for channel in range(channels)),
        good=np.ones(channels, bool),
    )


def _spikes(trials: list[Struct], path: Path) -> tuple[NDArray[np.float64], ...]:
    trains: list[list[NDArray]] = [[] for _ in _list(trials[0]["Neuron"])]
    for trial in trials:
        for train, neuron in zip(trains, _list(trial["Neuron"]), strict=True):
            train.append(np.atleast_1d(np.asarray(neuron[next(iter(neuron))], np.float64)))
    return tuple(check_spikes(np.concatenate(train), f"{path}: neuron {i + 1}") for i, train in enumerate(trains))


def _times(trial: Struct) -> NDArray:
    return np.atleast_1d(trial["Time"])


def _list(value: Any) -> list[Struct]:
    """The elements of a struct array; ``loadmat`` gives a single one as itself."""
    if isinstance(value, dict):
        return [value]
    return list(value)
