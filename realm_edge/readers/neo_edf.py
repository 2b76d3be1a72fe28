"""EDF and BDF by Neo, with the scale that the format defines, all annotations, and BDF's 24 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def edf_reader(base: Any) -> Any:
    """Neo's EDF reader, mended where release 0.14 takes the digital range for one step more, leaves out annotations at time 0, and
    cuts samples to 16 bits."""
    from pyedflib import DO_NOT_READ_ANNOTATIONS, EdfReader

    class EDFRawIO(base):
        def _parse_header(self) -> None:
            super()._parse_header()
            channels = self.header["signal_channels"]
            fits = all(header["digital_min"] >= -(2**15) and header["digital_max"] < 2**15 for header in self.signal_headers)
            for channel, header in zip(channels, self.signal_headers, strict=True):
                steps = header["digital_max"] - header["digital_min"]
                channel["gain"] = (header["physical_max"] - header["physical_min"]) / steps
                channel["offset"] = header["physical_min"] - header["digital_min"] * channel["gain"]
                channel["dtype"] = "int16" if fits else "int32"

        def _get_analogsignal_chunk(
            self, block_index: int, seg_index: int, i_start: int, i_stop: int, stream_index: int, channel_indexes: None
        ) -> NDArray[np.int32]:
            chosen = self.stream_idx_to_chidx[stream_index]
            chunk = np.empty((len(chosen), i_stop - i_start), np.int32)
            with EdfReader(str(self.filename), DO_NOT_READ_ANNOTATIONS) as file:
                for row, channel in zip(chunk, chosen, strict=True):
                    file.read_digital_signal(channel, i_start, len(row), row)
            return chunk.T

        def _get_event_timestamps(
            self, block_index: int, seg_index: int, event_channel_index: int, t_start: None, t_stop: None
        ) -> tuple[NDArray, NDArray | None, NDArray]:
            times, lengths, labels = (np.asarray(each) for each in self._edf_annotations)
            epochs = self.header["event_channels"]["type"][event_channel_index] == b"epoch"
            chosen = (lengths > 0) == epochs
            return times[chosen], lengths[chosen] if epochs else None, labels[chosen].astype("U")

    return EDFRawIO
