"""The data stage: recordings, read or generated, become sessions."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from realm_edge import feature_bins, synthetic
from realm_edge import session as session_module
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.summaries import DataSummary
from realm_edge.cutting import split
from realm_edge.documents import Form, read_document, write_document
from realm_edge.errors import UserError
from realm_edge.preparation import prepare
from realm_edge.prepared import feature_session, prepared
from realm_edge.progress import Progress
from realm_edge.readers.names import name_of
from realm_edge.recording import Axes
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.sources import Recordings

# What is said of a session beside its bad channels: key of its provenance -> how the line begins.
_SAID = {
    "bands": "",
    "lfp_gaps": "",
    "segments": "segments: ",
    "short_segments": "segments: ",
    "segments_outside": "warning: segments: ",
    "intervals_left_out": "intervals left out: ",
    "invalid_outside": "warning: ",
    "invalid": "",
    "scale": "scale: ",
    "few_counts": "warning: ",
    "too_large": "channels ",
    "clipped": "warning: ",
    "nan_channels": "channels ",
    "nan_samples": "",
    "resampled": "",
    "spikes_outside": "warning: ",
    "behavior_outside": "",
    "behavior_left_out": "behaviour left out: ",
    "behavior_gaps": "",
    "behavior_constant": "warning: ",
    "without_behavior": "",
    "cut_short": "warning: ",
    "unobserved": "",
    "wraps": "warning: ",
    "lfp_unusable": "LFP that cannot be used: ",
    "units_unusable": "warning: the spikes are left out: ",
    "left_out": "left out: ",
}
_FILES = ("file", "behavior_file", "units_file")  # of a session's provenance
INDEX = "realm-edge sessions/1"
_WORKERS = 2  # numpy and scipy release the interpreter lock in the long loops; each worker holds one session


class Index(Form):
    """``data/index.json``."""

    sessions: tuple[str, ...]  # names of files; the held-out one is the last
    heldout: str  # its name


def run(run: RunDir, progress: Progress, recordings: Recordings, spikes: bool = True) -> DataSummary:
    """Write ``data/<session>.npz`` and ``data/index.json``.

    Args:
        run: where to.
        progress: told about each session.
        recordings: the last one is held out, and a single one also pretrains. Without any, the synthetic sessions of
            ``run.settings.synthetic`` are generated.
        spikes: False leaves the spike stream out. What the recording's units say of times in which nobody looked still holds.

    Raises:
        UserError: a recording cannot be used, or the recordings do not fit together.
    """
    recordings.check()
    _check_names(recordings.files)
    made = _made(run, recordings, progress, spikes)
    total = len(recordings.files) or run.settings.synthetic.sessions
    progress.say("data: " + (f"reading {total} recording(s)" if recordings.files else f"generating {total} synthetic recordings"))
    paths, described, first = [], [], None
    for session in progress.track(made, "sessions", total=total):
        first = first or session
        _check_alike(first, session)
        session = _without_folders(session if spikes else _without_spikes(session))
        path = run.file("data", f"{session.name}.npz")
        session_module.save(session, path)
        paths.append(path)
        described.append(session_module.describe(session, run.settings))
        tell(session, recordings, progress)
    index = run.file("data", "index.json")
    write_document(index, INDEX, Index(sessions=tuple(path.name for path in paths), heldout=described[-1].name), MAKERS["data"])
    summary = DataSummary(synthetic=not recordings.files, single_recording=total == 1, sessions=tuple(described))
    run.complete("data", [index, *paths], summary)
    return summary


def tell(session: Session, recordings: Recordings, progress: Progress) -> None:
    """Say what was done about the flaws of a recording.

    Args:
        recordings: with what was chosen.
    """
    if not session.good_channels.all():
        progress.say(f"  {session.name}: bad channels {np.flatnonzero(~session.good_channels).tolist()} are left out")
    for note in _SAID:
        if note in session.provenance:
            progress.say(f"  {session.name}: {_SAID[note]}{session.provenance[note]}")
    if not recordings.choices.lfp and "lfp_choices" in session.provenance:
        taken, choices = session.provenance["lfp_series"], session.provenance["lfp_choices"]
        progress.say(f"  {session.name}: LFP from '{taken}', one of {choices}; --lfp takes another")


def load_sessions(run: RunDir) -> list[Session]:
    """Load what the data stage wrote; the held-out session comes last, the others stay in their files (:func:`realm_edge.session.stored`).

    Raises:
        UserError: the index or a session is missing or broken.
    """
    index = read_document(run.file("data", "index.json"), INDEX, Index, f"run 'realm-edge data --out {run.path}'")
    stored = {path: session_module.stored(path) for path in (run.file("data", name) for name in index.sessions)}
    return [session_module.load(path) if session.heldout else session for path, session in stored.items()]


def _made(run: RunDir, recordings: Recordings, progress: Progress, spikes: bool) -> Iterator[Session]:
    if not recordings.files:
        return _synthetic_sessions(run.settings, spikes)
    if recordings.features is not None:
        return _feature_sessions(recordings.files, recordings.features, recordings.behavior, run.settings)
    return (
        session_module.load(prepared(recordings, index, run.settings, path is recordings.files[-1], progress), ("lfp", "features"))
        for index, path in enumerate(recordings.files)
    )


def _feature_sessions(data: Sequence[Path], features: str, behavior: str | None, settings: Settings) -> Iterator[Session]:
    for path in data:
        yield feature_session_of(path, features, behavior, settings, heldout=path is data[-1])


def feature_session_of(path: Path, features: str, behavior: str | Axes | None, settings: Settings, heldout: bool) -> Session:
    """A session of features; arguments as of :func:`realm_edge.prepared.feature_session`.

    Raises:
        UserError: as there, or its bins are not those of ``settings``.
    """
    parts = partial(split, settings=settings, heldout=heldout, label=str(path))
    session, bin_s = feature_session(path, features, behavior, settings, parts)
    if not feature_bins.is_bin(bin_s, settings.bin_ms):
        wanted = f"this run's bins last {settings.bin_ms} ms: resample it"
        raise UserError(f"{path}: {features}: a row every {1000 * bin_s:.6g} ms, but {wanted}")
    return dataclasses.replace(session, heldout=heldout)


def _synthetic_sessions(settings: Settings, spikes: bool) -> Iterator[Session]:
    sessions = settings.synthetic.sessions

    def make(index: int) -> Session:
        recording, broadband = synthetic.generate(settings, index)
        return prepare(recording, settings, heldout=index == sessions - 1, broadband=broadband if spikes else None)

    with ThreadPoolExecutor(_WORKERS) as pool:
        yield from pool.map(make, range(sessions))


def _without_spikes(session: Session) -> Session:
    return dataclasses.replace(session, counts=None, spike_source="none", spike_threshold=None, spike_electrodes=None, broadband=None)


def _without_folders(session: Session) -> Session:
    """Files by their names alone: where a recording lies decides nothing, and runs from two places are to be equal."""
    named = {key: Path(session.provenance[key]).name for key in _FILES if key in session.provenance}
    return dataclasses.replace(session, provenance=session.provenance | named)


def _check_names(data: Sequence[Path]) -> None:
    """Session files are named after the recordings."""
    seen: dict[str, Path] = {}
    for path in data:
        name = name_of(path)
        if name in seen:
            raise UserError(f"{path}: the name '{name}' is taken by {seen[name]}; give each session its own file name")
        seen[name] = path


def _check_alike(first: Session, session: Session) -> None:
    label, reference = (each.provenance.get("file", each.name) for each in (session, first))
    here, there = len(session.target_names), len(first.target_names)
    if here != there:
        raise UserError(f"{label}: {here} targets, but {reference} has {there}: use recordings of one task")
    if session.target_unit != first.target_unit:
        names, others = (f"{', '.join(each.target_names)} in {each.target_unit}" for each in (session, first))
        raise UserError(f"{label}: it has {names}, but {reference} has {others}: use recordings of one task, in one unit")
