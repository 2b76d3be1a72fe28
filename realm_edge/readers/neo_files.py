"""Which recordings Neo is to open, with which of its readers, and which files belong to each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm_edge.errors import UserError
from realm_edge.files import require_regular


def _itself(path: Path) -> list[Path]:
    return [path]


def _same_stem(*suffixes: str) -> Callable[[Path], Iterable[Path]]:
    """Files beside a file with its stem and one of the suffixes."""
    return lambda path: [each for each in path.parent.glob(f"{_literal(path.stem)}.*") if each.suffix.lower() in suffixes]


def _in_folder(*suffixes: str) -> Callable[[Path], Iterable[Path]]:
    """Files in a directory, or beside a file, with one of the suffixes."""
    return lambda path: [each for each in (path if path.is_dir() else path.parent).iterdir() if each.suffix.lower() in suffixes]


def _in_tree(*suffixes: str) -> Callable[[Path], Iterable[Path]]:
    """Files in a directory and those below it, with one of the suffixes."""
    return lambda path: [each for each in path.rglob("*") if each.suffix.lower() in suffixes]


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in name)


@dataclass(frozen=True)
class Format:
    """One of Neo's readers."""

    reader: str  # class in neo.rawio
    title: str  # for people
    files: Callable[[Path], Iterable[Path]] = _itself  # of what is opened
    opens: Callable[[Path], Path] = field(default=lambda path: path)  # what the reader is given, from a file that belongs to it
    options: dict[str, Any] = field(default_factory=dict)
    signals: str = "the files of its signals"  # where signals are in files of their own, which


_BLACKROCK = Format(
    "BlackrockRawIO",
    "Blackrock",
    _same_stem(*(f".ns{number}" for number in range(1, 7)), ".nev", ".ccf", ".sif"),
    options={"gap_tolerance_ms": 0.0},  # every gap starts a segment of Neo's
    signals="its .ns1 to .ns6",
)
_NEURALYNX = Format(
    "NeuralynxRawIO",
    "Neuralynx",
    _in_folder(".ncs", ".nse", ".ntt", ".nev"),
    lambda path: path.parent,
    {"gap_tolerance_ms": 0.1},  # starts a segment of Neo's; its time stamps are rounded to a microsecond, and a record is 512 samples
    "its .ncs",
)
_INTAN = Format("IntanRawIO", "Intan", _itself, options={"ignore_integrity_checks": True})  # neo_clock.py looks for gaps instead
_INTAN_FOLDER = Format("IntanRawIO", "Intan", _in_folder(".rhd", ".rhs", ".dat"), options=_INTAN.options)
_TDT_BLOCK = Format("TdtRawIO", "TDT", _in_folder(".tbk", ".tdx", ".tev", ".tsq", ".tin", ".tnt", ".sev"))
_TDT_TANK = Format("TdtRawIO", "TDT", _in_tree(".tbk", ".tdx", ".tev", ".tsq", ".tin", ".tnt", ".sev"))
_SPIKEGLX = Format(
    "SpikeGLXRawIO",
    "SpikeGLX",
    lambda path: [each for meta in path.rglob("*.meta") if meta.with_suffix(".bin").is_file() for each in (meta, meta.with_suffix(".bin"))],
    lambda path: path.parent,
)
_OPEN_EPHYS = Format(
    "OpenEphysBinaryRawIO", "Open Ephys", _in_tree(".oebin", ".dat", ".npy"), lambda path: path.parent if path.is_file() else path
)
_AXONA = Format(
    "AxonaRawIO", "Axona", _same_stem(".set", ".bin", *(f".{number}" for number in range(1, 33))), signals="its .bin (raw, not .eeg)"
)

_BY_SUFFIX = {
    ".rhd": _INTAN,
    ".rhs": _INTAN,
    **{f".ns{number}": _BLACKROCK for number in range(1, 7)},
    ".ncs": _NEURALYNX,
    ".nse": _NEURALYNX,
    ".ntt": _NEURALYNX,
    ".plx": Format("PlexonRawIO", "Plexon", options={"progress_bar": False}),
    **dict.fromkeys((".tsq", ".tev", ".tbk", ".tdx", ".sev"), _TDT_BLOCK),
    ".oebin": _OPEN_EPHYS,
    ".edf": Format("EDFRawIO", "EDF"),
    ".bdf": Format("EDFRawIO", "BDF"),
    ".set": _AXONA,
}

SUFFIXES = (*_BY_SUFFIX, ".nev", ".meta", ".bin")  # of files; .nev, .bin and .dat belong to several formats


@dataclass(frozen=True)
class Source:
    """What a reader of Neo's opens."""

    format: Format
    path: Path  # file or directory that it is given
    files: tuple[Path, ...]  # that the recording is read from, sorted


def source_of(path: Path) -> Source | None:
    """The source of a recording: ``path`` is a directory, a file, or one file of a set; None where Neo has no reader for it.

    Raises:
        UserError: a directory cannot be listed, or a file not be opened.
    """
    try:
        found = _of_directory(path) if path.is_dir() else _of_file(path)
        if found is None:
            return None
        form, opened = found
        files = sorted(each for each in form.files(opened) if each.exists() and not each.is_dir())
        for file in files:
            require_regular(file)
        return Source(form, opened, tuple(files))
    except OSError as error:
        raise UserError(f"{path}: not readable ({error}): check its permissions and the disk") from error


def _of_file(path: Path) -> tuple[Format, Path] | None:
    suffix = path.suffix.lower()
    form = _BY_SUFFIX.get(suffix)
    if path.name in ("info.rhd", "info.rhs"):
        form = _INTAN_FOLDER
    if suffix == ".nev" and path.is_file():
        with path.open("rb") as file:
            form = _BLACKROCK if file.read(8) in (b"NEURALEV", b"BREVENTS") else _NEURALYNX
    if suffix in (".meta", ".bin") and all(path.with_suffix(each).is_file() for each in (".meta", ".bin")):
        form = _SPIKEGLX
    elif suffix == ".bin" and path.with_suffix(".set").is_file():
        form = _AXONA
    if suffix == ".dat":
        beside = [path.parent / name for name in ("info.rhd", "info.rhs") if (path.parent / name).is_file()]
        return (_INTAN_FOLDER, beside[0]) if beside else None
    return None if form is None else (form, form.opens(path))


def _of_directory(path: Path) -> tuple[Format, Path] | None:
    header = next((each for each in sorted(path.iterdir()) if each.name in ("info.rhd", "info.rhs")), None)
    if header is not None:
        return _INTAN_FOLDER, header
    suffixes = {each.suffix.lower(): each for each in sorted(path.iterdir(), reverse=True) if each.is_file()}
    if ".tsq" in suffixes:
        return _TDT_BLOCK, suffixes[".tsq"]
    if {".ncs", ".nse", ".ntt"} & suffixes.keys():
        return _NEURALYNX, path
    if any(path.glob("*/*.[tT][sS][qQ]")):
        return _TDT_TANK, path
    if any(any(path.glob(f"{'*/' * depth}structure.oebin")) for depth in range(4)):  # record node, experiment, recording
        return _OPEN_EPHYS, path
    metas = (meta for depth in range(3) for meta in path.glob(f"{'*/' * depth}*.meta"))  # run, probe
    return (_SPIKEGLX, path) if any(meta.with_suffix(".bin").is_file() for meta in metas) else None
