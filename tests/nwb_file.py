"""Writes recordings in NWB 2 as tests need them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.core import DynamicTableRegion
from pynwb.ecephys import LFP, ElectricalSeries


def new_file() -> NWBFile:
    return NWBFile(session_description="made by a test", identifier="test", session_start_time=datetime(2024, 1, 1, tzinfo=UTC))


def electrodes(file: NWBFile, channels: int) -> DynamicTableRegion:
    """Add electrodes; the region of all of them."""
    device = file.create_device("array")
    group = file.create_electrode_group("array", "an array", "cortex", device)
    for _ in range(channels):
        file.add_electrode(group=group, location="cortex")
    return region(file, range(channels))


def region(file: NWBFile, rows: Sequence[int]) -> DynamicTableRegion:
    return file.create_electrode_table_region(list(rows), "some")


def electrical_series(name: str, data: NDArray, electrodes: DynamicTableRegion, **more: Any) -> ElectricalSeries:
    return ElectricalSeries(name=name, data=data, electrodes=electrodes, **more)


def add_lfp(file: NWBFile, data: NDArray, where: str = "LFP", **more: Any) -> None:
    """A series 'lfp' at 1 kHz, 0.2 uV a count, unless ``more`` says otherwise; where ``more`` holds electrodes, on those."""
    on = more.pop("electrodes", None) or electrodes(file, data.shape[1] if data.ndim == 2 else 1)
    clock = {} if "timestamps" in more else {"rate": 1000.0}
    series = electrical_series("lfp", data, on, **({"conversion": 2e-7} | clock | more))
    if where == "acquisition":
        file.add_acquisition(series)
    else:
        file.create_processing_module("ecephys", "LFP").add(LFP(electrical_series=series))


def add_behavior(file: NWBFile, *series: Any) -> None:
    module = file.create_processing_module("behavior", "kinematics")
    for each in series:
        module.add(each)


def velocity(name: str = "velocity", data: NDArray | None = None, seconds: float = 0.4, **more: Any) -> TimeSeries:
    """Two columns of noise at 250 Hz in m/s, unless ``more`` says otherwise."""
    data = np.random.default_rng(1).standard_normal((round(250 * seconds), 2)) if data is None else data
    clock = {} if "timestamps" in more else {"rate": 250.0}
    return TimeSeries(name=name, data=data, **({"unit": "m/s"} | clock | more))


def write(path: Path, file: NWBFile) -> Path:
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


def recording_file(path: Path, data: NDArray, *behaviors: Any, units: Sequence[NDArray] = (), **lfp: Any) -> Path:
    """A complete file: LFP, behaviour (at least a velocity as long as 1 kHz data), sorted units."""
    file = new_file()
    add_lfp(file, data, **lfp)
    add_behavior(file, *(behaviors or (velocity(seconds=len(data) / 1000),)))
    for times in units:
        file.add_unit(spike_times=np.asarray(times, float))
    return write(path, file)
