"""Opening a recording with Neo: checks of its files before, mends of what Neo makes of them after."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from realm_edge.errors import UserError
from realm_edge.readers import neo_blackrock, neo_intan, neo_open_ephys, neo_plexon, neo_spikeglx, neo_tdt
from realm_edge.readers.neo_edf import edf_reader
from realm_edge.readers.neo_files import Source
from realm_edge.readers.neo_flaws import Flaws
from realm_edge.readers.neo_neuralynx import neuralynx_reader

_MENDED = {"EDFRawIO": edf_reader, "NeuralynxRawIO": neuralynx_reader}


def opened(neo: Any, source: Source, named: Path) -> tuple[Any, Any, Flaws]:
    """The reader of signals, that of spikes and events, both with their headers parsed, and what there is to tell.

    Raises:
        UserError: files are missing, damaged, or do not belong together. Whatever Neo raises is passed on.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        reader, spiking, flaws = _opened(neo, source, named)
    skipped = dict.fromkeys(" ".join(str(each.message).split()).rstrip(".") for each in said if "skip" in str(each.message).lower())
    return reader, spiking, flaws + Flaws(left_out=tuple(skipped))


def _opened(neo: Any, source: Source, named: Path) -> tuple[Any, Any, Flaws]:
    flaws = _checked(source)
    events = next((file for file in source.files if file.suffix.lower() == ".nev"), None)
    if source.format.reader != "BlackrockRawIO":
        reader, mended = _parsed(neo, source, {})
        return reader, reader, flaws + mended
    if events is not None:
        flaws += neo_blackrock.cut_short(events)
    if events is not None and (len(source.files) == 1 or neo_blackrock.version(events) == (2, 1)):
        reader, _ = _parsed(neo, source, {})
        return reader, reader, flaws
    # Together, Neo 0.14.6 refuses recordings with a pause after which there are both spikes and events.
    options: dict[str, Any] = {"load_nev": False} if events is not None else {}
    try:
        reader, _ = _parsed(neo, source, options)
    except Exception as error:  # of a class of Neo's, which is not imported here
        one = neo_blackrock.one_of_several(error, source.files, named)
        reader, _ = _parsed(neo, source, options | one)
        flaws += Flaws(left_out=(f"all .nsX but {named.name}, which pause at other times: each can be named",))
    return reader, _parsed(neo, source, {"nsx_to_load": []})[0] if events is not None else reader, flaws


def _checked(source: Source) -> Flaws:
    if source.format.reader == "TdtRawIO":
        return neo_tdt.check(source.files)
    if source.format.reader == "SpikeGLXRawIO":
        return neo_spikeglx.check(source.path, [file for file in source.files if file.suffix == ".meta"])
    if source.format.reader == "OpenEphysBinaryRawIO":
        neo_open_ephys.check(source.files)
    return Flaws()


def _parsed(neo: Any, source: Source, options: dict[str, Any]) -> tuple[Any, Flaws]:
    name = source.format.reader
    reader_class = _MENDED.get(name, lambda base: base)(getattr(neo, name))
    keyword = "dirname" if reader_class.rawmode == "one-dir" else "filename"
    reader = reader_class(**{keyword: str(source.path)}, **source.format.options, **options)
    if name == "IntanRawIO":
        reader._assert_timestamp_continuity = lambda: None  # it would take as much memory as the recording is long
    with _over_whole_samples():
        try:
            reader.parse_header()
        except Exception as error:
            if name == "PlexonRawIO" and ("same number of samples" in str(error) or neo_plexon.ends_early(source.path)):
                raise UserError(
                    f"{source.path}: it ends before all channels do: copy it again, or export it again with Plexon's software"
                ) from error
            if name == "IntanRawIO" and isinstance(error, KeyError | IndexError):
                raise UserError(f"{source.path}: a .dat of its signals is missing beside it ({error}): copy all files again") from error
            raise
    if name == "PlexonRawIO":
        return reader, neo_plexon.mended(reader, source.path)
    if name == "TdtRawIO":
        return reader, neo_tdt.mended(reader)
    if name == "IntanRawIO":
        return reader, neo_intan.mended(reader, source.path)
    if name == "AxonaRawIO":
        return reader, _axona(reader)
    if name == "OpenEphysBinaryRawIO" and not reader._use_direct_evt_timestamps:
        neo_open_ephys.mend_event_times(reader)
    return reader, reader.flaws if name == "NeuralynxRawIO" else Flaws()


def _axona(reader: Any) -> Flaws:
    cut = reader.bin_file and Path(reader.bin_file).stat().st_size % reader.file_parameters["bin"]["bytes_packet"]
    return Flaws((f"{Path(reader.bin_file).name} ends within a packet: its end is missing",) if cut else ())


@contextlib.contextmanager
def _over_whole_samples() -> Iterator[None]:
    """Let Neo take the whole samples of a file that ends within one: release 0.14 refuses an odd number of bytes."""
    modules = [importlib.import_module(f"neo.rawio.{name}") for name in ("spikeglxrawio", "openephysbinaryrawio")]
    shape_of = modules[0].get_memmap_shape

    def whole(filename: str, dtype: str, num_channels: int, offset: int = 0) -> tuple[int, int]:
        return ((Path(filename).stat().st_size - offset) // (np.dtype(dtype).itemsize * num_channels), num_channels)

    for module in modules:
        module.get_memmap_shape = whole  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.get_memmap_shape = shape_of  # type: ignore[attr-defined]
