"""A session as training, export and the simulator see it: everything on one grid of bins."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge import broadband
from realm_edge.broadband import Broadband
from realm_edge.errors import UserError
from realm_edge.files import replacing
from realm_edge.numpy_files import Npz
from realm_edge.segments import one_segment
from realm_edge.settings import Settings
from realm_edge.summaries import SessionSummary
from realm_edge.table import Table, write_npy

_PLAIN = (
    *("name", "heldout", "synthetic", "target_unit", "train_end", "validation_end", "spike_source", "spike_electrodes"),
    *("resampling_delay_s", "provenance"),
)
_ARRAYS = ("targets", "starts", "valid", "lfp", "good_channels", "features", "counts", "spike_threshold")
_STORED = ("targets", "features", "counts")  # what training sees of a session, row by row
_BROADBAND_ARRAYS = ("noise", "live", "spike_times", "spike_units", "unit_channels", "waveforms")
_BROADBAND_OPTIONAL = ("field", "activity", "spike_gain")


@dataclass(frozen=True)
class Session:
    """One recording on the bins of ``settings.bin_ms``; bin ``k`` of a segment covers ``[k, k + 1)`` bin lengths from its start.

    Of a :func:`stored` session, targets, features and counts are tables in a file, of which slices of bins can be had.
    """

    name: str
    heldout: bool  # the session that is decoded; the others pretrain
    synthetic: bool
    targets: NDArray[np.float32]  # (bins, dims), behaviour at each bin's end, in target_unit; a row is NaN where it is unknown
    target_names: tuple[str, ...]
    target_unit: str
    train_end: int  # bins: train = [0, train_end), validation = [train_end, validation_end), test = [validation_end, bins)
    validation_end: int
    lfp: Table | None  # (bins * lfp_samples_per_bin, channels) int16, ADC counts at settings.lfp.rate_hz; read a block at a time
    good_channels: NDArray[np.bool_]  # (channels,)
    features: NDArray[np.float32] | None  # (bins, n_features), realm_edge.frontend.lfp_features of ``lfp``
    counts: NDArray[np.float32] | None  # (bins, n_spike_inputs), spikes per bin, or their running z-score
    spike_source: str  # "broadband" (threshold crossings), "units" (sorted spike times) or "none"
    spike_threshold: NDArray[np.int32] | None  # (channels,), ADC counts, negative; only for "broadband"
    broadband: Broadband | None  # what makes the synthetic 30 kHz signal; see broadband_block
    provenance: dict[str, str] = field(default_factory=dict)
    starts: NDArray[np.int64] = field(default_factory=one_segment)  # (segments,), bins at which filters, lags and states start anew
    # (bins,), False in times in which the recording is void; such bins make up segments of their own and nothing is learnt from them.
    valid: NDArray[np.bool_] | None = None  # None: all
    resampling_delay_s: float = 0.0  # how far ``lfp`` looks ahead, on top of what the implant adds
    spike_electrodes: int | None = None  # that sorted units come from; None: nobody says

    @property
    def bins(self) -> int:
        return len(self.targets)


def save(session: Session, path: Path) -> None:
    """Write a session as one ``.npz`` (arrays and a JSON string, no pickle), atomically; equal sessions give equal bytes.

    Tables are written a block at a time, and nothing is compressed, so that :func:`load` can read them so.
    """
    plain: dict[str, Any] = {name: getattr(session, name) for name in _PLAIN}
    plain["target_names"] = list(session.target_names)
    arrays = {name: getattr(session, name) for name in _ARRAYS if getattr(session, name) is not None}
    if session.broadband is not None:
        plain["broadband_seed"] = session.broadband.seed
        made_of = {name: getattr(session.broadband, name) for name in (*_BROADBAND_ARRAYS, *_BROADBAND_OPTIONAL)}
        arrays |= {f"broadband.{name}": array for name, array in made_of.items() if array is not None}
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in ({"session": np.array(json.dumps(plain, sort_keys=True))} | arrays).items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                write_npy(file, array)


def load(path: Path, tables: tuple[str, ...] = ("lfp",)) -> Session:
    """Read what :func:`save` wrote.

    Args:
        tables: of "lfp" and "features", which stay in the file and are read a block at a time.

    Raises:
        UserError: the file is missing or broken; the message names it and the command that writes it.
    """
    with _opened(path) as file:
        plain = _plain(file)
        arrays: dict[str, Any] = {name: file.get(name) for name in _ARRAYS if name not in tables}
        arrays |= {name: file.rows(name) if name in file else None for name in tables}
        seed = plain.pop("broadband_seed", None)
        source = None if seed is None else _broadband(file, seed)
        return Session(**plain, **arrays, broadband=source)


def stored(path: Path) -> Session:
    """Read what :func:`save` wrote as training needs it: what it sees stays in the file, and what that was made from is left out.

    Hundreds of such sessions take neither memory nor open files, and they go to other processes by their files' names. Reading a table
    raises OSError where its file was replaced or removed.

    Raises:
        UserError: as :func:`load`.
    """
    with _opened(path) as file:
        plain = _plain(file)
        plain.pop("broadband_seed", None)
        arrays: dict[str, Any] = {name: file.get(name) for name in _ARRAYS if name not in ("lfp", *_STORED)}
        arrays |= {name: file.rows(name, held=False) if name in file else None for name in _STORED}
        return Session(**plain, **arrays, lfp=None, broadband=None)


def in_memory(session: Session) -> Session:
    """A :func:`stored` session with all that training sees of it in memory; any other as it is."""
    tables: dict[str, Any] = {name: getattr(session, name) for name in _STORED}
    read: dict[str, Any] = {name: np.asarray(table) for name, table in tables.items() if table is not None}
    return replace(session, **read)


def _plain(file: Npz) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(str(file["session"]))
    plain["target_names"] = tuple(plain["target_names"])
    return plain


@contextmanager
def _opened(path: Path) -> Iterator[Npz]:
    try:
        yield Npz(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: run 'realm-edge data'") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not readable as a session ({error}): remove it and run 'realm-edge data'") from error


def _broadband(file: Npz, seed: int) -> Broadband:
    """What makes the synthetic 30 kHz signal; its field stays in the file and is read a block at a time."""
    needed: dict[str, Any] = {name: file[f"broadband.{name}"] for name in _BROADBAND_ARRAYS}
    optional: dict[str, Any] = {name: file.get(f"broadband.{name}") for name in _BROADBAND_OPTIONAL if name != "field"}
    field = file.rows("broadband.field") if "broadband.field" in file else None
    return Broadband(seed, **needed, **optional, field=field)


def broadband_block(session: Session, settings: Settings, start_bin: int, bins: int) -> NDArray[np.int16]:
    """Make part of the synthetic broadband signal of a session.

    The signal is made in whole seconds of which the block is cut: ask for a second or more at a time.

    Args:
        session: with ``spike_source`` "broadband".
        settings: those the session was made with.
        start_bin: first bin.
        bins: how many.

    Returns:
        ``(bins * settings.spike_samples_per_bin, channels)`` ADC counts; the same whatever blocks are asked for.

    Raises:
        ValueError: the session has no broadband signal, or the block does not lie within it.
    """
    if session.broadband is None or session.lfp is None:
        raise ValueError(f"session {session.name} has no broadband signal (spike source '{session.spike_source}')")
    if not (start_bin >= 0 and bins > 0 and start_bin + bins <= session.bins):
        raise ValueError(f"bins {start_bin} to {start_bin + bins} do not lie within the {session.bins} bins of session {session.name}")
    rate = settings.spike.rate_hz
    start, stop = start_bin * settings.spike_samples_per_bin, (start_bin + bins) * settings.spike_samples_per_bin
    first, last = start // rate, -(-stop // rate)
    seconds = [broadband.second(session.broadband, session.lfp, settings.lfp.rate_hz, rate, index) for index in range(first, last)]
    return np.concatenate(seconds)[start - first * rate : stop - first * rate]


def describe(session: Session, settings: Settings) -> SessionSummary:
    """What the data stage reports about a session."""
    units = session.counts.shape[1] if session.counts is not None else 0
    if session.broadband is not None:
        units = len(session.broadband.unit_channels)
    return SessionSummary(
        name=session.name,
        heldout=session.heldout,
        synthetic=session.synthetic,
        seconds=session.bins * settings.bin_ms / 1000,
        bins=session.bins,
        segments=len(session.starts),
        channels=len(session.good_channels),
        bad_channels=tuple(np.flatnonzero(~session.good_channels).tolist()),
        spike_source=session.spike_source,
        units=units,
        spike_electrodes=session.spike_electrodes,
        targets=session.target_names,
        target_unit=session.target_unit,
        train_bins=session.train_end,
        validation_bins=session.validation_end - session.train_end,
        test_bins=session.bins - session.validation_end,
        unknown_behavior_bins=int(np.isnan(session.targets).any(axis=1).sum()),
        resampling_delay_ms=1e3 * session.resampling_delay_s,
        provenance=dict(session.provenance),
    )
