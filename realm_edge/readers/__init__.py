"""Readers of recordings, chosen by the file's suffix and what is in it."""

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

from realm_edge.errors import UserError
from realm_edge.files import sha256_file, sha256_json
from realm_edge.readers import cache, flint, makin, npz, nwb
from realm_edge.readers.arrays import choose_behavior
from realm_edge.readers.contents import Contents, Request
from realm_edge.recording import Recording
from realm_edge.settings import Settings

_READERS: dict[str, Callable[[Path, Request], Contents]] = {
    ".nwb": nwb.read,
    ".mat": flint.read,
    ".npz": npz.read,
    cache.SUFFIX: cache.read,
}
_DEFAULT = Settings()


def read_recording(path: Path, behavior: str | None, settings: Settings = _DEFAULT, lfp_series: str | None = None) -> Recording:
    """Read one recording.

    Args:
        path: ``.nwb`` (NWB 2, :mod:`realm_edge.readers.nwb`, or NWB 1 broadband with a ``.mat`` beside it,
            :mod:`realm_edge.readers.makin`), ``.mat`` (:mod:`realm_edge.readers.flint`), ``.npz``
            (:mod:`realm_edge.readers.npz`) or ``.realm`` (:mod:`realm_edge.readers.cache`).
        behavior: name of the behaviour series; None takes the only one there is.
        settings: ``lfp.rate_hz`` is what broadband is resampled to while it is read; gaps longer than a bin are refused.
        lfp_series: name of the LFP series, where an NWB 2 file has several; None: see :mod:`realm_edge.readers.nwb`.

    Raises:
        UserError: missing, unreadable or unsuitable file; the message names it and what would help.
    """

    def pick(names: Collection[str]) -> list[str]:
        return [choose_behavior(names, behavior, str(path))]

    request = Request(pick, settings.lfp.rate_hz, settings.bin_ms / 1000, lfp_series)
    signals, behaviors = read_contents(path, request)
    [chosen] = behaviors.values()
    return dataclasses.replace(
        signals,
        behavior=chosen.values,
        behavior_times=chosen.times,
        behavior_names=chosen.names,
        behavior_unit=chosen.unit,
        provenance={**signals.provenance, "behavior_series": next(iter(behaviors))},
    )


def read_contents(path: Path, request: Request) -> Contents:
    """Read the signals and the behaviour series that ``request`` picks; as :func:`read_recording` otherwise."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: unknown kind of recording '{path.suffix}': use one of {', '.join(_READERS)}")
    digest = fingerprint(path)
    if reader is nwb.read and makin.is_broadband(path):
        reader = makin.read
    if request.lfp_series is not None and reader is not nwb.read:
        raise UserError(f"{path}: --lfp {request.lfp_series}: only NWB 2 files have several LFP series: leave it out")
    if request.session is not None and reader is not flint.read:
        raise UserError(f"{path}: --session {request.session}: this file holds one session: leave it out")
    signals, behaviors = reader(path, request)
    notes = {**signals.provenance, "file": str(path), "sha256": digest}
    if signals.lfp_gaps:
        lengths = [length for _, length in signals.lfp_gaps]
        notes["lfp_gaps"] = (
            f"{len(lengths)} gap(s) in the LFP's clock, {1e3 * sum(lengths):.1f} ms in all, the longest {1e3 * max(lengths):.1f} ms, "
            "filled with the sample before each"
        )
    return Contents(dataclasses.replace(signals, provenance=notes), behaviors)


def fingerprint(path: Path) -> str:
    """SHA-256, as hex, of all that a recording is read from.

    Raises:
        UserError: there is no such recording.
    """
    if path.suffix.lower() == cache.SUFFIX and path.is_dir():
        return sha256_file(cache.header_of(path))  # which holds those of the arrays
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    beside = makin.kinematics_of(path)
    if beside != path and beside.is_file() and makin.is_broadband(path):
        return sha256_json([sha256_file(path), sha256_file(beside)])
    return sha256_file(path)
