"""Prepared sessions, kept in the user's cache: ``run`` and ``evaluate`` prepare a recording once, whoever comes first."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import realm_edge
from realm_edge import session as session_module
from realm_edge.files import cache_folder, remove_leftovers, sha256_file, sha256_json
from realm_edge.preparation import prepare_in
from realm_edge.progress import Progress
from realm_edge.readers import fingerprint, read_recording
from realm_edge.settings import Settings
from realm_edge.sources import Recordings

_MOST_BYTES = 20 << 30  # kept; what was used longest ago goes first
_OF_TRAINING = ("preset", "seed", "synthetic", "teacher", "student", "pretrain", "distil", "finetune")  # settings that prepare nothing


def prepared(recordings: Recordings, index: int, settings: Settings, heldout: bool, progress: Progress | None = None) -> Path:
    """A file that :func:`realm_edge.session.load` reads: one recording as a session, prepared now or before.

    Args:
        index: of the recording.
        heldout: whether it is the session that is decoded.
        progress: notes how much of the LFP has been read.

    Raises:
        UserError: the recording cannot be used.
    """
    path = recordings.files[index]
    made_from = {
        "code": _code(),
        "recording": [str(path), fingerprint(path, recordings.of(index))],
        "chosen": recordings.chosen(),
        "settings": settings.model_dump(mode="json", exclude=set(_OF_TRAINING)),
        "heldout": heldout,
    }
    kept = cache_folder() / "sessions" / f"{sha256_json(made_from)}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(kept.parent)
        recording = read_recording(path, recordings.of(index), settings)
        with tempfile.TemporaryFile(dir=kept.parent) as spool:
            session_module.save(prepare_in(spool, recording, settings, heldout, progress=progress), kept)
        _forget(kept.parent, but=kept)
    os.utime(kept)
    return kept


def _code() -> str:
    """Hash of all that decides how a session is prepared, so that another version of it prepares anew."""
    root = Path(realm_edge.__file__).parent
    return sha256_json([sha256_file(file) for file in sorted([*root.glob("*.py"), *root.glob("readers/*.py")])])


def _forget(folder: Path, but: Path) -> None:
    """Remove what was used longest ago, until the rest is small enough."""
    kept = sorted(_sizes(folder), key=lambda entry: entry[0], reverse=True)
    total = 0
    for _, size, file in kept:
        total += size
        if total > _MOST_BYTES and file != but:
            file.unlink(missing_ok=True)


def _sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for file in folder.glob("*.npz"):
        status = file.stat()
        yield status.st_mtime, status.st_size, file
