"""Readers of recordings, chosen by the file's suffix and what is in it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from realm_edge.errors import UserError
from realm_edge.files import sha256_file, sha256_json
from realm_edge.readers import cache, flint, links, makin, names, neo_formats, npz, remote, sheets
from realm_edge.readers.assembly import Sources, assemble, signal_of, spikes_outside, without_behavior
from realm_edge.readers.choices import TABLES, Choices
from realm_edge.readers.contents import Contents, Request
from realm_edge.recording import Recording
from realm_edge.settings import Settings


def _nwb(path: Path, request: Request) -> Contents:
    from realm_edge.readers import nwb  # loading pynwb takes longer than reading most recordings of other formats

    return nwb.read(path, request)


_READERS: dict[str, Callable[[Path, Request], Contents]] = {
    ".nwb": _nwb,
    names.ZARR: _nwb,
    ".mat": flint.read,
    ".npz": npz.read,
    cache.SUFFIX: cache.read,
}
_SHEETS = dict.fromkeys(TABLES, sheets.read)

_NEEDED = {  # beside files of a format by Neo, without which they are of no use
    ".bin": "SpikeGLX's needs its .meta beside it, Axona's its .set",
    ".meta": "SpikeGLX's needs its .bin beside it",
    ".dat": "Intan's needs info.rhd or info.rhs beside it; of Open Ephys name the directory",
    ".npy": "write it as .npz with the keys of docs/recordings.md",
}
_DEFAULT, _ANY = Settings(), Choices()


def read_recording(path: Path, choices: Choices = _ANY, settings: Settings = _DEFAULT) -> Recording:
    """Put one recording together; its voltage stays in the file and is read a block at a time.

    Args:
        path: ``.nwb`` (NWB 2, :mod:`realm_edge.readers.nwb`, or NWB 1 broadband with a ``.mat`` beside it,
            :mod:`realm_edge.readers.makin`), ``.mat`` (:mod:`realm_edge.readers.flint`), ``.npz``
            (:mod:`realm_edge.readers.npz`) or ``.realm`` (:mod:`realm_edge.readers.cache`).
        choices: what is taken of it.
        settings: gaps longer than a bin are pauses; scales are chosen on the training part.

    Raises:
        UserError: missing, unreadable or unsuitable file; the message names it and what would help.
    """
    sources = open_sources(path, choices, settings.bin_ms / 1000)
    recording = assemble(sources, choices, settings.split.train, settings.bin_ms / 1000, remote.shown(path))
    return with_provenance(recording, path, choices)


def signals_of(sources: Sources, path: Path, choices: Choices, settings: Settings) -> Recording:
    """As :func:`read_recording`, without behaviour; spikes on another clock are told of, not refused."""
    recording = without_behavior(sources, choices, settings.split.train, settings.bin_ms / 1000, remote.shown(path))
    try:
        note = spikes_outside(recording, choices, remote.shown(path))
    except UserError as error:
        note = str(error)
    recording = dataclasses.replace(recording, provenance=recording.provenance | ({"spikes_outside": note} if note else {}))
    return with_provenance(recording, path, choices)


def lfp_rate(path: Path, choices: Choices = _ANY, settings: Settings = _DEFAULT) -> float:
    """Sampling rate of a recording's LFP in Hz, without reading the LFP."""
    max_gap_s = settings.bin_ms / 1000
    return signal_of(open_sources(path, choices, max_gap_s).main, choices, remote.shown(path))[0].clock.rate


def with_provenance(recording: Recording, path: Path, choices: Choices) -> Recording:
    """A recording that names its files, their hashes, and the gaps that were filled."""
    notes = {**recording.provenance, "file": remote.shown(path), "sha256": fingerprint(path, choices)}
    for name, file in (("behavior_file", choices.behavior_file), ("units_file", choices.units_file)):
        if file is not None:
            notes[name] = str(file)
    if recording.lfp_gaps:
        lengths = [length for _, length in recording.lfp_gaps]
        notes["lfp_gaps"] = (
            f"{len(lengths)} gap(s) in the LFP's clock, {1e3 * sum(lengths):.1f} ms in all, the longest {1e3 * max(lengths):.1f} ms, "
            "filled with the sample before each"
        )
    return dataclasses.replace(recording, provenance=notes)


def open_sources(path: Path, choices: Choices, max_gap_s: float, session: int | None = None) -> Sources:
    """See what is in the files of one recording."""
    request = Request(max_gap_s, session)
    others = [
        None if file is None else _opened(file, Request(max_gap_s), _READERS | _SHEETS)
        for file in (choices.behavior_file, choices.units_file)
    ]
    return Sources(_opened(path, request, _READERS), *others)


def _opened(path: Path, request: Request, readers: dict[str, Callable[[Path, Request], Contents]]) -> Contents:
    if remote.address_of(path) is not None:
        return _nwb(path, request)
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file() and not path.is_dir():
        raise UserError(f"{path}: neither a file nor a directory: name a recording")
    reader = readers.get(path.suffix.lower())
    if reader is None and neo_formats.handles(path):
        reader = neo_formats.read
    if reader is None and path.suffix.lower() in _NEEDED:
        raise UserError(f"{path}: '{path.suffix}' alone is no recording: {_NEEDED[path.suffix.lower()]}")
    if reader is None:
        raise UserError(
            f"{path}: unknown kind of recording '{path.suffix}': use one of {', '.join(readers)}, or a format that docs/recordings.md lists"
        )
    if reader is _nwb and makin.is_nwb_1(path):
        reader = makin.read
    if request.session is not None and reader not in (flint.read, neo_formats.read):
        raise UserError(f"{path}: --session {request.session}: this file holds one session: leave it out")
    return reader(path, request)


def fingerprint(path: Path, choices: Choices = _ANY) -> str:
    """SHA-256, as hex, of all that a recording is read from.

    Raises:
        UserError: there is no such recording.
    """
    files = [file for file in (choices.behavior_file, choices.units_file) if file is not None]
    if choices.segments is not None and Path(choices.segments).suffix.lower() in TABLES:
        files.append(Path(choices.segments))
    hashes = [_fingerprint(path), *(_fingerprint(file) for file in files)]
    return hashes[0] if len(hashes) == 1 else sha256_json(hashes)


def _fingerprint(path: Path) -> str:
    address = remote.address_of(path)
    if address is not None:
        return remote.fingerprint(address)
    if path.suffix.lower() == cache.SUFFIX and path.is_dir():
        return sha256_file(cache.header_of(path))  # which holds those of the arrays
    if path.suffix.lower() == names.ZARR and path.is_dir():
        return _of_all(sorted(file for file in path.rglob("*") if file.is_file()))
    if path.suffix.lower() not in _READERS and path.exists() and neo_formats.handles(path):
        return _of_all(neo_formats.files_of(path))
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    beside = makin.kinematics_of(path)
    if beside != path and beside.is_file() and makin.is_nwb_1(path):
        return _of_all([path, beside])
    linked = [file for file in links.linked_files(path) if file.is_file()] if path.suffix.lower() == ".nwb" else []
    return _of_all([path, *linked]) if linked else sha256_file(path)


def _of_all(files: list[Path]) -> str:
    return sha256_json([[file.name, sha256_file(file)] for file in files])
