"""The day that a student is adapted to: read with the run's own choices, with or without behaviour, and refused where it does not fit."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge import session as session_module
from realm_edge.app.adapt.decision import blocks
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.data import feature_session_of, tell
from realm_edge.errors import UserError
from realm_edge.evaluation.blocks import BLOCK_S, FEWEST
from realm_edge.frontend import design, lfp_features
from realm_edge.prepared import prepared
from realm_edge.progress import Progress
from realm_edge.readers.choices import TABLES, Choices
from realm_edge.readers.names import name_of
from realm_edge.recording import Axes
from realm_edge.segments import within
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.sources import Recordings


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line says of the day."""

    data: tuple[Path, ...]
    behavior: tuple[str, ...] = ()  # series to check with; none: the day's behaviour is not read
    behavior_file: Path | None = None
    sync_offset: float | None = None  # s
    segments: str | None = None  # in place of the run's

    @property
    def checks(self) -> bool:
        """Whether the day's behaviour is there to check with."""
        return bool(self.behavior) or self.behavior_file is not None


def recordings_of(asked: Asked, run: RunDir) -> Recordings:
    """The day as a recording, with the run's choices.

    Raises:
        UserError: none or several days, one of the run's own recordings, or choices that cannot be taken over.
    """
    if len(asked.data) != 1:
        raise UserError(f"--data: given {len(asked.data)} times: a student is adapted to one day: name one recording")
    [day] = asked.data
    if asked.sync_offset is not None and asked.behavior_file is None:
        raise UserError(f"--sync-offset {asked.sync_offset:g}: it shifts the times of --behavior-file: give one")
    request = run.requested("data")
    segments = asked.segments or request.get("segments")
    if asked.segments is None and segments and Path(segments).suffix.lower() in TABLES:
        raise UserError(f"{day}: the run's segments come from {segments}, a file of its recordings: name this one's with --segments")
    chosen: dict[str, Any] = {key: tuple(request.get(key, ())) for key in ("lfp", "channels", "without_channels")}
    recordings = Recordings(
        (day,),
        Choices(asked.behavior, **chosen, segments=segments),
        behavior_files=() if asked.behavior_file is None else (asked.behavior_file,),
        sync_offsets=() if asked.sync_offset is None else (asked.sync_offset,),
        features=request.get("features"),
    )
    recordings.check()
    hashes = {sha256: name for name, sha256 in request.get("recordings", [])}
    again = hashes.get(Recordings((day,)).fingerprint(0)) or hashes.get(recordings.fingerprint(0))
    if again is not None:
        raise UserError(f"{day}: it is {again}, which the run was trained on: name a recording of another day")
    names = [name_of(Path(name)) for name in hashes.values()]
    if name_of(day) in names:
        raise UserError(f"{day}: a recording of the run has this name: give the day's file a name of its own")
    return recordings


def read(recordings: Recordings, asked: Asked, run: RunDir, decoded: Session, progress: Progress) -> Session:
    """The day as the implant's own front end has it, split as a decoded session is.

    Args:
        decoded: the run's labelled session, for whose array and axes the student is.

    Raises:
        UserError: the day cannot be used, is too short, or is of another array or task.
    """
    settings, [path] = run.settings, recordings.files
    unlabelled = None if asked.checks else Axes(decoded.target_names, decoded.target_unit)
    if recordings.features is not None:
        day = feature_session_of(path, recordings.features, unlabelled or recordings.behavior, settings, heldout=True)
    else:
        day = session_module.load(prepared(recordings, 0, settings, True, progress, unlabelled))
    tell(day, recordings, progress)
    _check_array(day, decoded, path)
    _check_axes(day, decoded, path)
    _check_length(day, settings, path)
    if day.lfp is not None and (day.good_channels != decoded.good_channels).any():
        # A channel that died since is for the statistics to find; one that lives again the implant leaves out.
        day = dataclasses.replace(
            day,
            good_channels=decoded.good_channels,
            features=lfp_features(design(settings, decoded.good_channels), day.lfp, day.starts),
        )
    return day


def _check_array(day: Session, decoded: Session, path: Path) -> None:
    for name, here, there in (
        ("channels", len(day.good_channels), len(decoded.good_channels)),
        ("features", _width(day), _width(decoded)),
    ):
        if here != there:
            raise UserError(
                f"{path}: {here} {name}, but the run's student reads the {there} of {decoded.name}: use a recording of the same array"
            )


def _width(session: Session) -> int:
    return 0 if session.features is None else session.features.shape[1]


def _check_axes(day: Session, decoded: Session, path: Path) -> None:
    here, there = ((one.target_names, one.target_unit) for one in (day, decoded))
    if here != there:
        named, wanted = (f"{', '.join(names)} in {unit}" for names, unit in (here, there))
        raise UserError(f"{path}: its behaviour is {named}, the run's {wanted}: name the same series with --behavior, or none")


def _check_length(day: Session, settings: Settings, path: Path) -> None:
    """As many blocks as an interval takes; a training window in each part is seen to by the split."""
    bin_s = settings.bin_ms / 1000
    found = blocks(day.bins - day.validation_end, bin_s, tested_starts(day))
    if found < FEWEST:
        share = 1 - settings.split.train - settings.split.validation
        raise UserError(
            f"{path}: its {day.bins * bin_s:.0f} s leave {found} block(s) of {BLOCK_S:g} s to test on, and {FEWEST} say something: "
            f"use a day of {FEWEST * BLOCK_S / share:.0f} s or more"
        )


def tested_starts(day: Session) -> NDArray[np.int64]:
    """Starts of segments within the last part, counted from it."""
    return within(day.starts, day.validation_end, day.bins)
