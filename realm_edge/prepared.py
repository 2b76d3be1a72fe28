"""Prepared sessions, kept in the user's cache: ``run`` and ``evaluate`` prepare a recording once, whoever comes first."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import realm_edge
from realm_edge import session as session_module
from realm_edge.apart import NOTES, apart
from realm_edge.broadband import Broadband
from realm_edge.feature_table import Split
from realm_edge.files import cache_folder, naming, remove_leftovers, sha256_file, sha256_json, write_text
from realm_edge.preparation import prepare_in
from realm_edge.progress import Progress
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import open_sources, read_recording, signals_of
from realm_edge.recording import Axes, Recording
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.sources import Recordings

_MOST_BYTES = 20 << 30  # kept; what was used longest ago goes first
_in_use: dict[Path, BinaryIO] = {}  # by this process, until it ends: sessions are read as long as it trains
_OF_TRAINING = ("preset", "seed", "synthetic", "teacher", "student", "pretrain", "distil", "finetune")  # settings that prepare nothing


def prepared(
    recordings: Recordings,
    index: int,
    settings: Settings,
    heldout: bool,
    progress: Progress | None = None,
    unlabelled: Axes | None = None,
) -> Path:
    """A file that :func:`realm_edge.session.load` reads: one recording as a session, prepared now or before.

    It stays there as long as this process runs, whatever others prepare.

    Args:
        index: of the recording.
        heldout: whether it is the session that is decoded.
        progress: notes how much of the LFP has been read.
        unlabelled: the recording's behaviour is not read, if it has any: its targets are unknown, of these axes.

    Raises:
        UserError: the recording cannot be used.
    """
    path = recordings.files[index]
    made_from = {
        "code": _code(),
        "recording": [str(path), recordings.fingerprint(index)],
        "chosen": recordings.chosen(),
        "settings": settings.model_dump(mode="json", exclude=set(_OF_TRAINING)),
        "heldout": heldout,
        "unlabelled": unlabelled,
    }
    kept = cache_folder() / "sessions" / f"{sha256_json(made_from)}.npz"
    if not _use(kept) or not _is_whole(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(kept.parent)
        arguments = (kept, path, recordings.of(index), settings, heldout, NOTES, unlabelled)
        apart("realm_edge.prepared:write", *arguments, files=recordings.read_of(index), progress=progress)
        write_text(_sum_of(kept), sha256_file(kept))
        _use(kept)
        _forget(kept.parent)
    os.utime(kept)
    return kept


def _use(kept: Path) -> bool:
    """Keep other processes from forgetting a session that is there."""
    while kept.is_file():
        try:
            file = kept.open("rb")
        except FileNotFoundError:
            break
        fcntl.flock(file, fcntl.LOCK_SH)
        if kept.exists() and os.path.samestat(kept.stat(), os.fstat(file.fileno())):
            _in_use[kept] = file
            return True
        file.close()  # it was forgotten between opening and locking
    return False


def _sum_of(kept: Path) -> Path:
    return kept.with_suffix(".sha256")


def _is_whole(kept: Path) -> bool:
    """Whether a session is there, as it was written."""
    return kept.is_file() and _sum_of(kept).is_file() and _sum_of(kept).read_text(errors="replace") == sha256_file(kept)


def write(
    out: Path, path: Path, choices: Choices, settings: Settings, heldout: bool, progress: Progress, unlabelled: Axes | None = None
) -> None:
    """Prepare a recording and write it as a session."""
    if unlabelled is None:
        recording = read_recording(path, choices, settings)
    else:
        signals = signals_of(open_sources(path, choices, settings.bin_ms / 1000), path, choices, settings)
        recording = signals.unlabelled(unlabelled)
    with naming(out), tempfile.TemporaryFile(dir=out.parent) as spool:
        session_module.save(prepare_in(spool, recording, settings, heldout, progress=progress), out)


Prepare = Callable[[Recording, Settings, bool, Broadband | None], Session]


def prepared_by(prepare: Prepare, recordings: Recordings, index: int, settings: Settings, heldout: bool) -> Session:
    """A recording as a session in memory, prepared in another way than an implant can; nothing of it is kept.

    Args:
        prepare: a function of a module, which is called in the process apart.
    """
    path = recordings.files[index]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "session.npz")
        apart("realm_edge.prepared:write_by", prepare, out, path, recordings.of(index), settings, heldout, files=recordings.read_of(index))
        return session_module.load(out, tables=())


def write_by(prepare: Prepare, out: Path, path: Path, choices: Choices, settings: Settings, heldout: bool) -> None:
    """Write what :func:`prepared_by` gives."""
    session_module.save(prepare(read_recording(path, choices, settings), settings, heldout, None), out)


def feature_session(path: Path, features: str, behavior: str | Axes | None, settings: Settings, split: Split) -> tuple[Session, float]:
    """As :func:`realm_edge.feature_table.read`, in the process apart."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "session.npz")
        bin_s = float(apart("realm_edge.feature_table:write", out, path, features, behavior, settings, split, files=[path]))
        return session_module.load(out, tables=()), bin_s


def _code() -> str:
    """Hash of all that decides how a session is prepared, so that another version of it prepares anew."""
    root = Path(realm_edge.__file__).parent
    return sha256_json([sha256_file(file) for file in sorted([*root.glob("*.py"), *root.glob("readers/*.py")])])


def _forget(folder: Path) -> None:
    """Remove what was used longest ago and is in nobody's use, until the rest is small enough."""
    kept = sorted(_sizes(folder), key=lambda entry: entry[0], reverse=True)
    total = 0
    for _, size, file in kept:
        total += size
        if total > _MOST_BYTES:
            with suppress(BlockingIOError, FileNotFoundError), file.open("rb") as held:  # it is in use; another process was faster
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
                _sum_of(file).unlink()


def _sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for file in folder.glob("*.npz"):
        status = file.stat()
        yield status.st_mtime, status.st_size, file
