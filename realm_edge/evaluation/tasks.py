"""Which session is decoded and which ones pretrain for it."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from realm_edge import feature_bins, synthetic
from realm_edge import session as session_module
from realm_edge.broadband import Broadband
from realm_edge.cutting import split_ends
from realm_edge.errors import UserError
from realm_edge.evaluation.forms import Labelled
from realm_edge.preparation import prepare
from realm_edge.prepared import feature_session, prepared, prepared_by
from realm_edge.progress import Progress
from realm_edge.readers.names import name_of
from realm_edge.recording import Recording
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from realm_edge.training.segments import has_labels

MIN_SHIFT_S = 10.0  # of the circular-shift null: far beyond what behaviour remembers of itself


@dataclass(frozen=True)
class Chain:
    """How recordings become what decoders see."""

    name: str
    prepare: Callable[[Recording, Settings, bool, Broadband | None], Session]
    whole_session: bool = False  # inputs are standardised with the statistics of the whole session, not of its training part


CAUSAL = Chain("causal", prepare)


@dataclass(frozen=True)
class Task:
    """One decoded session."""

    decoded: Session  # stored in its file, as the others are, where it was prepared from one
    others: tuple[Session, ...]  # pretrain; with none, the decoded one's training part does
    bin_s: float
    window: int  # bins a training segment
    chain: Chain = CAUSAL

    def made_from(self) -> dict[str, Any]:
        """Names and hashes of the recordings, and how they were prepared."""
        return {
            "chain": self.chain.name,
            "decoded": [self.decoded.name, self.decoded.provenance.get("sha256")],
            "pretraining": [[one.name, one.provenance.get("sha256")] for one in self.others],
            "unlabelled": [one.name for one in self.others if not has_labels(one)],
        }


def tasks(
    recordings: Recordings, settings: Settings, heldout: int | None, progress: Progress, chain: Chain = CAUSAL, crossings: bool = True
) -> list[Task]:
    """Read or generate the sessions.

    Args:
        crossings: count threshold crossings of synthetic broadband, which takes longest; without, the counts are of sorted units.
        heldout: that many of the last sessions are decoded, each with the earlier ones for pretraining; None decodes each
            in turn, with all the others for pretraining.

    Raises:
        UserError: a recording cannot be used, two have one name or behaviours that differ, or ``heldout`` leaves none for pretraining.
    """
    total = len(recordings.files) or settings.synthetic.sessions
    most = max(1, total - 1)
    if heldout is not None and not 0 < heldout <= most:
        raise UserError(f"--heldout {heldout}: of {total} session(s) {f'1 to {most}' if most > 1 else 1} can be held out, or all")
    check_names(recordings)
    first = 0 if heldout is None or total == 1 else total - heldout
    progress.say(f"reading {total} recording(s)" if recordings.files else f"generating {total} synthetic recordings")
    decoded: list[Session] = []
    others: list[Session] = []
    bin_s = settings.bin_ms / 1000
    for index in progress.track(range(total), "sessions", total=total):
        pretrains = index < first or (heldout is None and total > 1)
        for session, seconds in _prepared(recordings, settings, index, (index >= first, pretrains), chain, crossings):
            (decoded if session.heldout else others).append(session)
            bin_s = seconds
    window = _window(recordings, settings, bin_s)
    for session in decoded:
        _check_length(session, window, bin_s)
        if session.target_names != decoded[0].target_names:
            raise UserError(
                f"{session.name}: its behaviour is {', '.join(session.target_names)}, but {decoded[0].name} has "
                f"{', '.join(decoded[0].target_names)}: compare sessions of one task"
            )
    return [Task(one, tuple(other for other in others if other.name != one.name), bin_s, window, chain) for one in decoded]


def task_of(recordings: Recordings, settings: Settings, index: int) -> Task:
    """Read or generate one session as it is decoded, with no other that pretrains for it.

    Raises:
        UserError: the recording cannot be used.
    """
    ((session, bin_s),) = _prepared(recordings, settings, index, (True, False), CAUSAL, crossings=True)
    window = _window(recordings, settings, bin_s)
    _check_length(session, window, bin_s)
    return Task(session_module.in_memory(session), (), bin_s, window)


def check_names(recordings: Recordings) -> None:
    """Refuse two recordings of one name, whose results would be one file.

    Raises:
        UserError: naming it.
    """
    names = [name_of(path) for path in recordings.files]
    if len(set(names)) < len(names):
        raise UserError(f"two recordings are named {max(names, key=names.count)}: give each session its own file name")


def with_labels(session: Session, share: float) -> Session:
    """Hide the behaviour of the training part after its first ``share`` of bins, whatever segment these end in.

    Validation and test stay as they are; where ``share`` is 0 the validation part is hidden too.
    """
    targets = np.array(session.targets)
    targets[round(share * session.train_end) : session.train_end if share else session.validation_end] = np.nan
    return dataclasses.replace(session, targets=targets)


def shifted(session: Session, bin_s: float, seed: int) -> Session:
    """Turn the behaviour round by a random time of at least 10 s: what is decoded then is chance.

    Segments count as if they followed one another: behaviour of one may come to lie beside another's inputs, and across its start. Each
    value stays beside its neighbours in time, so that the behaviour keeps what it remembers of itself.

    Raises:
        UserError: the session is no longer than twice that.
    """
    return dataclasses.replace(session, targets=np.roll(session.targets, shift_of(session, bin_s, seed), axis=0))


def shift_of(session: Session, bin_s: float, seed: int) -> int:
    """By how many bins :func:`shifted` turns.

    Raises:
        UserError: the session is no longer than twice :data:`MIN_SHIFT_S`.
    """
    least = round(MIN_SHIFT_S / bin_s)
    if session.bins <= 2 * least:
        raise UserError(f"{session.name}: {session.bins * bin_s:.0f} s are too short for a circular shift of {MIN_SHIFT_S:g} s")
    return int(np.random.default_rng(seed).integers(least, session.bins - least + 1))


def labelled(session: Session) -> Labelled:
    """Bins of known behaviour in training and validation part."""
    parts = {"training": slice(session.train_end), "validation": slice(session.train_end, session.validation_end)}
    return Labelled(**{name: int(np.isfinite(session.targets[part]).all(axis=1).sum()) for name, part in parts.items()})


def _prepared(
    recordings: Recordings, settings: Settings, index: int, wanted: tuple[bool, bool], chain: Chain, crossings: bool
) -> Iterator[tuple[Session, float]]:
    """One session in each of its roles (decoded, pretrains) that is wanted, and the seconds per bin; the voltage is dropped."""
    roles = [heldout for heldout, needed in zip((True, False), wanted, strict=True) if needed]
    if recordings.features is not None:
        parts = partial(split_ends, settings=settings)
        session, bin_s = feature_session(recordings.files[index], recordings.features, recordings.behavior, settings, parts)
        yield from ((dataclasses.replace(session, heldout=heldout), bin_s) for heldout in roles)
        return
    seconds = settings.bin_ms / 1000
    if recordings.files and chain == CAUSAL:
        sessions = (session_module.stored(prepared(recordings, index, settings, heldout)) for heldout in roles)
    elif recordings.files:
        sessions = (prepared_by(chain.prepare, recordings, index, settings, heldout) for heldout in roles)
    else:
        recording, broadband = synthetic.generate(settings, index)
        sessions = (chain.prepare(recording, settings, heldout, broadband if crossings else None) for heldout in roles)
    for session in sessions:
        yield dataclasses.replace(session, lfp=None, broadband=None), seconds


def _window(recordings: Recordings, settings: Settings, bin_s: float) -> int:
    """Bins a training segment; of features as long in seconds, at their own rate."""
    return settings.window_bins if recordings.features is None else feature_bins.window_bins(settings, bin_s)


def _check_length(session: Session, window: int, bin_s: float) -> None:
    shortest = min(session.train_end, session.validation_end - session.train_end, session.bins - session.validation_end)
    if shortest < window:
        raise UserError(
            f"{session.name}: a part of {shortest * bin_s:.1f} s is shorter than one training window of {window * bin_s:.1f} s: "
            "use a longer recording or lower window_bins"
        )
