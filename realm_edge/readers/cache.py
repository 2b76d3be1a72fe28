"""The project's own form of a recording: a directory ``NAME.realm`` that opens at once, whatever the recording's size.

``recording.json`` holds what is no array, and the SHA-256 of every chunk (16 MiB) of every array file; each array is one ``.npy``
that is mapped into memory when the recording is read. ``realm-edge data convert`` writes it from any other kind of recording.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from realm_edge.errors import UserError
from realm_edge.files import write_json
from realm_edge.readers.arrays import check_times
from realm_edge.readers.contents import BehaviorSeries, Contents, Request, without_behavior
from realm_edge.recording import Recording

SUFFIX = ".realm"
_HEADER = "recording.json"
_CHUNK = 1 << 24  # bytes


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Behavior(_Form):
    names: tuple[str, ...]
    unit: str
    values: str  # array file
    times: str


class _Header(_Form):
    format: Literal["realm-edge recording"] = "realm-edge recording"
    version: Literal[1] = 1
    lfp_rate: float
    lfp_start: float
    lfp_scale: float
    lfp_unit: str
    lfp_gaps: tuple[tuple[float, float], ...]
    lfp_delay_s: float
    synthetic: bool
    provenance: dict[str, str]
    behaviors: dict[str, _Behavior]
    chunk_bytes: Annotated[int, Field(gt=0)]
    sha256: dict[Annotated[str, Field(pattern=r"^\w+\.npy$")], tuple[str, ...]]  # array file -> one hash a chunk


_PLAIN = ("lfp_rate", "lfp_start", "lfp_scale", "lfp_unit", "lfp_gaps", "lfp_delay_s", "synthetic")
_ARRAYS = ("lfp", "good_channels", "rail_share")


def header_of(path: Path) -> Path:
    """The file whose hash stands for the whole recording.

    Raises:
        UserError: the directory has none.
    """
    header = path / _HEADER
    if not header.is_file():
        raise UserError(f"{path}: {_HEADER} is missing in it: make it again with 'realm-edge data convert'")
    return header


def check_free(path: Path) -> None:
    """Check that a recording can be written to ``path``.

    Raises:
        UserError: another suffix, or there is something already.
    """
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: recordings are converted to a directory with the suffix {SUFFIX}: use {path.with_suffix(SUFFIX)}")
    if path.exists():
        raise UserError(f"{path}: exists already: remove it, or choose another name")


def write(contents: Contents, path: Path) -> None:
    """Write a recording, whole or not at all.

    Args:
        contents: what a reader gave.
        path: directory to make; its name ends in ``.realm``.

    Raises:
        UserError: another suffix, or there is something already.
    """
    check_free(path)
    signals, behaviors = contents
    arrays: dict[str, NDArray] = {name: getattr(signals, name) for name in _ARRAYS if getattr(signals, name) is not None}
    if signals.spike_times:
        arrays["spike_times"] = np.concatenate(signals.spike_times)
        arrays["spike_index"] = np.cumsum([len(unit) for unit in signals.spike_times])
    described = {}
    for index, (name, series) in enumerate(behaviors.items()):
        files = {"values": f"behavior_{index}_values.npy", "times": f"behavior_{index}_times.npy"}
        arrays |= {Path(file).stem: getattr(series, kind) for kind, file in files.items()}
        described[name] = _Behavior(names=series.names, unit=series.unit, **files)
    provenance = dict(signals.provenance)
    provenance["converted_from"], provenance["converted_from_sha256"] = provenance.pop("file", ""), provenance.pop("sha256", "")
    with _replacing_directory(path) as partial:
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        header = _Header(
            **{name: getattr(signals, name) for name in _PLAIN},
            provenance=provenance,
            behaviors=described,
            chunk_bytes=_CHUNK,
            sha256={f"{name}.npy": tuple(_chunk_hashes(partial / f"{name}.npy", _CHUNK)) for name in arrays},
        )
        write_json(partial / _HEADER, header.model_dump(mode="json"))


def read(path: Path, request: Request) -> Contents:
    """Map a recording into memory, after every byte has been held against its hash.

    Raises:
        UserError: not such a directory, or a file in it is missing, damaged or of another version.
    """
    try:
        header = _Header.model_validate(json.loads(header_of(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path / _HEADER}: {field}: {first['msg']}: make it again with 'realm-edge data convert'") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path / _HEADER}: not readable as JSON ({error}): make it again with 'realm-edge data convert'") from error
    arrays = {file.removesuffix(".npy"): _checked(path / file, header) for file in header.sha256}
    try:
        behaviors = {name: _behavior(header.behaviors[name], arrays, path / name) for name in request.pick(list(header.behaviors))}
        signals = Recording(
            name=path.stem,
            **without_behavior(),
            **{name: getattr(header, name) for name in _PLAIN},
            lfp=arrays.get("lfp"),
            good_channels=arrays.get("good_channels"),
            rail_share=arrays.get("rail_share"),
            spike_times=tuple(np.split(arrays["spike_times"], arrays["spike_index"][:-1])) if "spike_times" in arrays else (),
            provenance=dict(header.provenance),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: its files do not fit together ({error}): make it again with 'realm-edge data convert'") from error
    return Contents(signals, behaviors)


def _behavior(series: _Behavior, arrays: dict[str, NDArray], label: Path) -> BehaviorSeries:
    values, times = (arrays[file.removesuffix(".npy")] for file in (series.values, series.times))
    return BehaviorSeries(values, check_times(times, len(values), str(label)), series.names, series.unit)


def _checked(file: Path, header: _Header) -> NDArray[Any]:
    """An array mapped into memory, every chunk as its hash says."""
    if not file.is_file():
        raise UserError(f"{file}: missing: make the recording again with 'realm-edge data convert'")
    found = list(_chunk_hashes(file, header.chunk_bytes))
    for chunk, (is_, was) in enumerate(zip(found, header.sha256[file.name], strict=False)):
        if is_ != was:
            raise UserError(
                f"{file}: damaged between byte {chunk * header.chunk_bytes} and {(chunk + 1) * header.chunk_bytes} (its SHA-256 differs): "
                "make the recording again with 'realm-edge data convert'"
            )
    if len(found) != len(header.sha256[file.name]):
        raise UserError(f"{file}: cut short or lengthened: make the recording again with 'realm-edge data convert'")
    return np.load(file, mmap_mode="r", allow_pickle=False)


def _chunk_hashes(file: Path, size: int) -> Iterator[str]:
    with file.open("rb") as stream:
        while chunk := stream.read(size):
            yield hashlib.sha256(chunk).hexdigest()


@contextmanager
def _replacing_directory(path: Path) -> Iterator[Path]:
    """As :func:`realm_edge.files.replacing`, for a directory that does not exist yet."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
