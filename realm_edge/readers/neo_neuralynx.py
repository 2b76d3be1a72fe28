"""Neuralynx by Neo, with records that hold fewer than 512 samples, and files that end within a record."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.neo_flaws import Flaws

_HEADER = 16384  # bytes
_RECORD = 512  # samples, of which the first may be valid


def neuralynx_reader(base: Any) -> Any:
    """Neo's reader, mended where release 0.14 counts 512 samples for each record, refuses a file that ends within a record, and leaves
    out a file without one."""
    from neo.rawio.neuralynxrawio import neuralynxrawio as neo

    class NeuralynxRawIO(base):
        def _parse_header(self) -> None:
            self._valid: dict[tuple[int, int], NDArray[np.int64]] = {}
            files = sorted(file for file in Path(self.dirname).iterdir() if file.suffix.lower() in (".ncs", ".nse", ".ntt", ".nev"))
            signals = [file for file in files if file.suffix.lower() == ".ncs"]
            empty = [file for file in signals if file.stat().st_size <= _HEADER]
            self._most_records, uneven = _common(base, [file for file in signals if file not in empty])
            try:
                super()._parse_header()
            except ValueError as error:
                if "Incompatible section structures" in str(error):
                    raise UserError(
                        f"{self.dirname}: its .ncs of one rate or filter pause at other times than those of another: "
                        "move those of one to a directory of their own"
                    ) from error
                raise
            cut = [
                file for file in files if file.stat().st_size > _HEADER and (file.stat().st_size - _HEADER) % _record_of(neo, file).itemsize
            ]
            self.flaws = Flaws(
                (*uneven, *(f"{file.name} ends within a record: its end is missing" for file in cut)),
                tuple(f"{file.name}: no samples in it" for file in empty),
            )

        def _get_file_map(self, filename: str) -> NDArray:  # a static method of Neo's
            path = Path(filename)
            record = _record_of(neo, path)
            records = (path.stat().st_size - _HEADER) // record.itemsize
            records = min(records, self._most_records.get(path, records))
            return np.memmap(path, record, "r", _HEADER, (records,)) if records > 0 else np.zeros(0, record)

        def scan_stream_ncs_files(self, ncs_filenames: list[str]) -> Any:
            try:
                return super().scan_stream_ncs_files(ncs_filenames)
            except OSError:  # channels of one stream pause at other times
                _refuse_other_times([Path(file) for file in ncs_filenames], [self._get_file_map(file) for file in ncs_filenames])
                raise

        def valid(self, segment: int, stream: int) -> NDArray[np.int64]:
            """Samples of each record ``(records,)`` of a segment, the same for all channels of a stream.

            Raises:
                UserError: they are not.
            """
            if (segment, stream) not in self._valid:
                names = self._names(stream)
                files, records = [Path(self.ncs_filenames[name]) for name in names], [self._sigs_memmaps[segment][name] for name in names]
                _refuse_other_times(files, records)
                valid = records[0]["nb_valid"].astype(np.int64)
                if valid.max(initial=0) > _RECORD:
                    raise UserError(
                        f"{files[0]}: record {int(np.argmax(valid))} says that it has {valid.max()} of {_RECORD} "
                        "samples: it is damaged: copy it again"
                    )
                self._valid[segment, stream] = valid
            return self._valid[segment, stream]

        def _names(self, stream: int) -> list[tuple[str, str]]:
            channels = self.header["signal_channels"]
            own = channels[channels["stream_id"] == self.header["signal_streams"][stream]["id"]]
            return [(str(name), str(number)) for name, number in own[["name", "id"]].tolist()]

        def _get_analogsignal_chunk(
            self, block_index: int, seg_index: int, i_start: int, i_stop: int, stream_index: int, channel_indexes: None
        ) -> NDArray[np.int16]:
            valid = self.valid(seg_index, stream_index)
            ends = np.cumsum(valid)
            first, last = np.searchsorted(ends, (i_start, i_stop - 1), "right").tolist()
            taken = np.arange(_RECORD) < valid[first : last + 1, None]
            skipped = i_start - int(ends[first] - valid[first])
            names = self._names(stream_index)
            chunk = np.empty((i_stop - i_start, len(names)), np.int16)
            for column, name in enumerate(names):
                records = self._sigs_memmaps[seg_index][name][first : last + 1]
                chunk[:, column] = records["samples"][taken][skipped : skipped + len(chunk)]
            return chunk

    return NeuralynxRawIO


def _refuse_other_times(files: list[Path], records: list[NDArray]) -> None:
    for file, other in zip(files[1:], records[1:], strict=True):
        if any(not np.array_equal(other[column], records[0][column]) for column in ("timestamp", "nb_valid")):
            raise UserError(
                f"{file}: its records are not at the times of those of {files[0].name}: copy it again, or move it out of the directory"
            )


def _record_of(neo: Any, path: Path) -> np.dtype:
    suffix = path.suffix.lower()
    if suffix == ".ncs":
        return np.dtype(neo.NeuralynxRawIO._ncs_dtype)
    return np.dtype(neo.nev_dtype if suffix == ".nev" else neo.get_nse_or_ntt_dtype(neo.NlxHeader(path), suffix[1:]))


def _common(base: Any, files: list[Path]) -> tuple[dict[Path, int], list[str]]:
    """Records that are read of each ``.ncs``, where those that Neo takes for one stream differ by one, and what there is to tell.

    Raises:
        UserError: they differ by more, or two are of one channel.
    """
    from neo.rawio.neuralynxrawio import neuralynxrawio as neo

    size = np.dtype(base._ncs_dtype).itemsize
    streams: dict[tuple[str, ...], dict[Path, int]] = {}
    channels: dict[tuple[str, ...], Path] = {}
    for file in files:
        try:
            header = neo.NlxHeader(file)
            kind = tuple(str(header.get(key)) for key in ("sampling_rate", "InputRange", *base._filter_keys))
            other = channels.setdefault((*kind, *map(str, header["channel_ids"])), file)
        except Exception as error:  # whatever a damaged header makes Neo raise
            raise UserError(f"{file}: its header is not readable ({error}): copy it again, or move it out of the directory") from error
        if other != file:
            raise UserError(f"{file}: the same channel as {other.name}: make a recording of each, in a directory of its own")
        streams.setdefault(kind, {})[file] = (file.stat().st_size - _HEADER) // size
    found: dict[Path, int] = {}
    told = []
    for records in streams.values():
        longest, shortest = max(records, key=records.__getitem__), min(records, key=records.__getitem__)
        if records[longest] > records[shortest] + 1:
            raise UserError(
                f"{shortest}: {records[shortest]} records, and {records[longest]} in {longest.name}: "
                "copy it again, or move it out of the directory"
            )
        if records[longest] > records[shortest]:
            told.append(f"{shortest.name} is a record shorter than {longest.name}: all are read as far as it goes")
        found |= dict.fromkeys(records, records[shortest])
    return found, told
