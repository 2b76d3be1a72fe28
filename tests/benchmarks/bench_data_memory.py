"""Peak memory of `realm-edge data` on long broadband: python tests/benchmarks/bench_data_memory.py FOLDER [MINUTES]...

Writes 48 channels at 30 kHz as NWB of int16 and of float32, and as SpikeGLX, into FOLDER (10 minutes: 1.8 to 3.5 GB each; removed
afterwards), prepares each in a process of its own with an empty cache, and prints a Markdown table.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from tests.benchmarks import bench_formats
from tests.nwb_file import add_behavior, add_lfp, new_file, velocity
from tests.nwb_file import write as write_nwb

CHANNELS, RATE, CHUNK = 48, 30_000, 30_000
SERIES = "processing/ecephys/LFP/lfp"


def nwb(path: Path, minutes: float, dtype: str) -> None:
    """A chunk of a random walk with a rhythm, over and over."""
    file = new_file()
    add_lfp(file, np.zeros((1, CHANNELS), dtype), rate=float(RATE), conversion=1e-7)
    add_behavior(file, velocity(seconds=60 * minutes))
    write_nwb(path, file)
    rng = np.random.default_rng(0)
    rhythm = 1000 * np.sin(2 * np.pi * 10 * np.arange(CHUNK) / RATE)[:, None]
    chunk = (5 * np.cumsum(rng.standard_normal((CHUNK, CHANNELS)), axis=0) + rhythm).astype(dtype)
    with h5py.File(path, "a") as content:
        group = content[SERIES]
        attributes = dict(group["data"].attrs)
        del group["data"]
        data = group.create_dataset("data", (round(minutes * 60 * RATE), CHANNELS), dtype, chunks=(CHUNK, CHANNELS))
        data.attrs.update(attributes)
        for first in range(0, len(data), CHUNK):
            data[first : first + CHUNK] = chunk[: len(data) - first]


def recordings(folder: Path, minutes: float) -> Iterator[tuple[str, list[str]]]:
    for dtype in ("int16", "float32"):
        path = folder / f"{dtype}.nwb"
        nwb(path, minutes, dtype)
        yield f"NWB, {dtype}", [str(path)]
        path.unlink()
    name, path = next(bench_formats.write(folder, minutes))
    table = folder / "behavior.csv"
    times = np.arange(0, 60 * minutes, 0.02)
    np.savetxt(table, np.stack([times, np.sin(times)], axis=1), delimiter=",", header="time,speed", comments="")
    yield name, [str(path), "--behavior-file", str(table)]
    path.unlink()
    path.with_suffix(".meta").unlink()


def main(folder: Path, minutes: list[float]) -> None:
    config = folder / "short.toml"
    config.write_text("window_bins = 50\n")  # a minute is too short for the preset's windows
    print("| recording | minutes | peak, MB | processor, s |\n|---|---:|---:|---:|")
    for length in minutes:
        for name, words in recordings(folder, length):
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                command = [
                    sys.executable,
                    "-m",
                    "realm_edge",
                    "data",
                    "--config",
                    str(config),
                    "--data",
                    *words,
                    "--out",
                    f"{scratch}/run",
                    "--json",
                ]
                process = subprocess.Popen(command, env=os.environ | {"XDG_CACHE_HOME": scratch}, stdout=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{name}: ended with {status}")
            print(f"| {name} | {length:g} | {usage.ru_maxrss / 1024:.0f} | {usage.ru_utime:.0f} |", flush=True)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    main(Path(sys.argv[1]), [float(word) for word in sys.argv[2:]] or [1.0, 10.0])
