"""The project's own form of a recording: a directory ``NAME.realm`` that opens at once, whatever the recording's size.

``recording.json`` holds what is no array, the SHA-256 of every chunk (16 MiB) of every array file, and that of itself; each array is one
``.npy``, of which the LFP is read a block at a time. ``realm-edge data convert`` writes it from any other kind of recording.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from realm_edge.errors import UserError
from realm_edge.files import LONGEST_NAME, replacing_directory, write_json
from realm_edge.numpy_files import rows_of_npy
from realm_edge.readers.arrays import behavior_values, check_rate, check_times
from realm_edge.readers.clock import Clock
from realm_edge.readers.contents import Contents, Request, Signal, Units, known
from realm_edge.recording import BehaviorSeries, Intervals
from realm_edge.seal import is_intact, sealed
from realm_edge.table import Table, write_npy

SUFFIX = ".realm"
_HEADER = "recording.json"
_CHUNK = 1 << 24  # bytes


_Seconds = Annotated[float, Field(ge=-1e15, le=1e15)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Behavior(_Form):
    names: tuple[str, ...]
    unit: str
    values: str  # array file
    times: str


class Header(_Form):
    """``recording.json``."""

    format: Literal["realm-edge recording"] = "realm-edge recording"
    version: Literal[3] = 3
    lfp_rate: float
    lfp_starts: tuple[tuple[int, _Seconds], ...]  # first sample of each stretch without a pause, and its time in s
    lfp_scale: float
    lfp_unit: str
    lfp_gaps: tuple[tuple[_Seconds, Annotated[_Seconds, Field(gt=0)]], ...]  # start and length of each
    lfp_delay_s: _Seconds
    channels: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    synthetic: bool
    provenance: dict[str, str]
    behaviors: dict[str, _Behavior]
    intervals: dict[str, str]  # name -> array file
    unit_electrodes: tuple[tuple[str, ...], ...] = ()  # of each unit; none: unknown
    chunk_bytes: Annotated[int, Field(gt=0, le=1 << 30)]
    sha256: dict[Annotated[str, Field(pattern=r"^\w+\.npy$")], tuple[str, ...]]  # array file -> one hash a chunk
    digest: str = ""  # of all the rest; see realm_edge.seal


@dataclass(frozen=True)
class Stored:
    """What is written."""

    signal: Signal  # of int16 counts, one gain; no gap is left to fill
    behaviors: Mapping[str, BehaviorSeries]
    units: Units
    intervals: Mapping[str, Intervals]
    invalid: Intervals
    synthetic: bool
    provenance: Mapping[str, str]


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
        raise UserError(f"{path}: recordings are converted to a directory with the suffix {SUFFIX}: {_named(path)}")
    if path.exists():
        raise UserError(f"{path}: exists already: remove it, or choose another name")


def _named(path: Path) -> str:
    """What to call it; a suffix makes a name longer, and there are none for ``.`` and ``/``."""
    name = f"{path.stem}{SUFFIX}"
    return (
        f"use {path.with_name(name)}" if path.name and len(os.fsencode(name)) <= LONGEST_NAME else f"use a shorter name, such as a{SUFFIX}"
    )


def write(stored: Stored, path: Path) -> None:
    """Write a recording, whole or not at all; the LFP is never in memory as a whole.

    Raises:
        UserError: another suffix, or there is something already.
    """
    check_free(path)
    signal, units = stored.signal, stored.units
    arrays: dict[str, Table | NDArray] = {"lfp": signal.data, "good_channels": signal.good, "lfp_offset": signal.offset}
    if signal.rail_share is not None:
        arrays["rail_share"] = signal.rail_share
    if units.times:
        arrays["spike_times"] = np.concatenate(units.times)
        arrays["spike_index"] = np.cumsum([len(unit) for unit in units.times])
    if units.observed:
        arrays["observed"] = np.concatenate(units.observed)
        arrays["observed_index"] = np.cumsum([len(unit) for unit in units.observed])
    if len(stored.invalid):
        arrays["invalid"] = stored.invalid
    tables = {name: f"intervals_{index}" for index, name in enumerate(stored.intervals)}
    arrays |= {tables[name]: table for name, table in stored.intervals.items()}
    described = {}
    for index, (name, series) in enumerate(stored.behaviors.items()):
        files = {"values": f"behavior_{index}_values.npy", "times": f"behavior_{index}_times.npy"}
        arrays |= {Path(file).stem: getattr(series, kind) for kind, file in files.items()}
        described[name] = _Behavior(names=series.names, unit=series.unit, **files)
    provenance = dict(stored.provenance)
    # Where it lay decides nothing: a recording that is converted in two places is to be the same.
    named = {key: Path(provenance[key]).name for key in ("behavior_file", "units_file") if key in provenance}
    provenance |= named | {"converted_from": Path(provenance.pop("file", "")).name, "converted_from_sha256": provenance.pop("sha256", "")}
    with replacing_directory(path) as unfinished:
        for name, array in arrays.items():
            with (unfinished / f"{name}.npy").open("wb") as file:
                write_npy(file, array)
        header = Header(
            lfp_rate=signal.clock.rate,
            lfp_starts=signal.clock.starts,
            lfp_scale=float(signal.gain[0]),
            lfp_unit=signal.unit,
            lfp_gaps=signal.gaps,
            lfp_delay_s=signal.delay_s,
            channels=signal.channels,
            columns=dict(signal.columns),
            synthetic=stored.synthetic,
            provenance=provenance,
            behaviors=described,
            intervals=tables,
            unit_electrodes=units.electrodes,
            chunk_bytes=_CHUNK,
            sha256={f"{name}.npy": tuple(_chunk_hashes(unfinished / f"{name}.npy", _CHUNK)) for name in arrays},
        )
        write_json(unfinished / _HEADER, sealed(header.model_dump(mode="json", exclude={"digest"})))


def read(path: Path, request: Request) -> Contents:
    """See what is in a recording, after every byte has been held against its hash.

    Raises:
        UserError: not such a directory, or a file in it is missing, damaged or of another version.
    """
    try:
        content = json.loads(header_of(path).read_text(encoding="utf-8"))
        header = Header.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path / _HEADER}: {field}: {first['msg']}: make it again with 'realm-edge data convert'") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path / _HEADER}: not readable as JSON ({error}): make it again with 'realm-edge data convert'") from error
    if not is_intact(content):
        raise UserError(f"{path / _HEADER}: damaged or edited (its SHA-256 differs): make it again with 'realm-edge data convert'")
    for file in header.sha256:
        _check(path / file, header)

    def array(name: str) -> NDArray[Any] | None:
        return np.asarray(rows_of_npy(path / f"{name}.npy")) if f"{name}.npy" in header.sha256 else None

    try:
        lfp = rows_of_npy(path / "lfp.npy")
        channels, none = lfp.shape[1], np.zeros(0, np.int64)
        if lfp.dtype != np.int16 or not header.lfp_starts or header.lfp_starts[0][0] != 0 or len(header.channels) != channels:
            raise ValueError(f"{channels} channels of {lfp.dtype}, {len(header.channels)} names, {len(header.lfp_starts)} starts")
        signal = Signal(
            series="lfp",
            data=lfp,
            clock=Clock(check_rate(header.lfp_rate, str(path)), len(lfp), header.lfp_starts, none, none),
            gain=np.full(channels, header.lfp_scale),
            offset=_given(array("lfp_offset"), np.zeros(channels)),
            unit=header.lfp_unit,
            channels=header.channels,
            good=_given(array("good_channels"), np.ones(channels, bool)),
            columns=header.columns,
            delay_s=header.lfp_delay_s,
            gaps=header.lfp_gaps,
            rail_share=array("rail_share"),
        )
        trains, observed = _split(array("spike_times"), array("spike_index")), _split(array("observed"), array("observed_index"))
        if header.unit_electrodes and len(header.unit_electrodes) != len(trains):
            raise ValueError(f"{len(header.unit_electrodes)} electrodes of {len(trains)} units")
        units = Units(trains, observed, header.unit_electrodes)
        behaviors = {name: _behavior(series, array, path / name) for name, series in header.behaviors.items()}
        intervals = {name: _given(array(table), np.zeros((0, 2))) for name, table in header.intervals.items()}
        invalid = _given(array("invalid"), np.zeros((0, 2)))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise UserError(f"{path}: its files do not fit together ({error}): make it again with 'realm-edge data convert'") from error
    return Contents(
        name=path.stem,
        lfp={"lfp": known(signal)},
        behaviors={name: known(series) for name, series in behaviors.items()},
        units=known(units),
        intervals=intervals,
        invalid=invalid,
        synthetic=header.synthetic,
        provenance=header.provenance,
    )


def _given(array: NDArray[Any] | None, default: NDArray[Any]) -> NDArray[Any]:
    return default if array is None else array


def _split(values: NDArray[Any] | None, ends: NDArray[Any] | None) -> tuple[NDArray[Any], ...]:
    return () if values is None or ends is None else tuple(np.split(values, ends[:-1]))


def _behavior(series: _Behavior, array: Callable[[str], NDArray[Any] | None], label: Path) -> BehaviorSeries:
    values, times = (array(file.removesuffix(".npy")) for file in (series.values, series.times))
    if values is None or times is None:
        raise KeyError(series.values)
    times = check_times(times, len(values), str(label))
    return BehaviorSeries(behavior_values(values, str(label)), times, series.names, series.unit)


def _check(file: Path, header: Header) -> None:
    """Hold every chunk of an array file against its hash."""
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


def _chunk_hashes(file: Path, size: int) -> Iterator[str]:
    with file.open("rb") as stream:
        while chunk := stream.read(size):
            yield hashlib.sha256(chunk).hexdigest()
