"""A compiled decoder: int16 samples in, decoded values out, the same bits as on every other machine.

This module and the shared library beside it need numpy and nothing else.
"""

import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

VALID = 2  # what step_block returns for an output that is settled


class Decoder:
    """One instance with a state of its own; several run side by side, each in one thread at a time.

    Attributes:
        about: the bundle's ``metadata.json``.
        channels: int16 of a tick: channels, or where the bundle has no front end, features.
        ticks_per_bin: of which one output comes.
        unit: of what :meth:`to_units` returns.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Load the library of ``folder``, of this package where there is none.

        Raises:
            OSError: the library is missing, or is for another machine.
            RuntimeError: its weights are not those that were compiled.
        """
        place = Path(__file__).parent if folder is None else folder
        self.about: dict[str, Any] = json.loads((place / "metadata.json").read_text(encoding="utf-8"))
        first, (output,) = self.about["frontend"] or self.about["decoder"], self.about["decoder"]["outputs"]
        (self.channels,), (self._outputs,) = first["inputs"][0]["shape"], output["shape"]
        self.ticks_per_bin: int = self.about["api"]["ticks_per_bin"]
        self.unit: str = output["unit"]
        self._scale, self._offset = np.array(output["scale"], np.float32), np.array(output["offset"], np.float32)
        prefix, memory = self.about["prefix"], self.about["memory"]
        library = ctypes.CDLL(str(place / f"lib{prefix}.so"))
        self._init, self._step, crc32 = (getattr(library, f"{prefix}_{name}") for name in ("init", "step_block", "weights_crc32"))
        pointer = ctypes.c_void_p
        self._init.restype, self._init.argtypes = None, (pointer,)
        self._step.restype, self._step.argtypes = ctypes.c_int32, (pointer, pointer, pointer, ctypes.c_int32, pointer)
        crc32.restype = ctypes.c_uint32
        if crc32() != int(self.about["weights"]["value"], 16):
            raise RuntimeError(f"lib{prefix}.so: its weights differ from those of metadata.json; install it again")
        self._state = np.zeros(memory["state_bytes"] // 8, np.int64)
        self._scratch = np.zeros(memory["scratch_bytes"] // 8, np.int64)
        self.reset()

    def reset(self) -> None:
        """Start anew, after a pause of the recording: the next tick is the first of a bin."""
        self._init(self._state.ctypes.data)
        self._ticks = 0

    def decode(self, samples: ArrayLike) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Take samples, of any number; a bin may begin in one call and end in a later one.

        Args:
            samples: (ticks, channels) int16, as the ADC has them.

        Returns:
            Of each bin that ended the integers that the firmware writes, (bins, outputs), and whether filters and states had settled by
            then, (bins,).

        Raises:
            ValueError: samples are not int16, or not of this many channels.
        """
        block = np.ascontiguousarray(samples)
        if block.dtype != np.int16 or block.ndim != 2 or block.shape[1] != self.channels:
            raise ValueError(f"samples are {block.dtype} {block.shape}: this decoder takes int16 (ticks, {self.channels})")
        bins = (self._ticks + len(block)) // self.ticks_per_bin
        outputs, settled = np.zeros((bins, self._outputs), np.int16), np.zeros(bins, np.bool_)
        at = done = 0
        while at < len(block):
            count = min(self.ticks_per_bin - self._ticks, len(block) - at)
            output = np.zeros(self._outputs, np.int16)
            addresses = (array.ctypes.data for array in (self._state, self._scratch, block[at:]))
            found = self._step(*addresses, count, output.ctypes.data)
            at, self._ticks = at + count, (self._ticks + count) % self.ticks_per_bin
            if found:
                outputs[done], settled[done] = output, found == VALID
                done += 1
        return outputs, settled

    def to_units(self, outputs: ArrayLike) -> NDArray[np.float32]:
        """Integers of :meth:`decode` as values in :attr:`unit`."""
        values: NDArray[np.float32] = np.asarray(outputs, np.float32) * self._scale + self._offset
        return values
