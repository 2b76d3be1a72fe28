"""Time and memory of reading a recording by Neo, block by block: python tests/benchmarks/bench_formats.py FOLDER [MINUTES]...

Writes 48 channels at 30 kHz of noise as SpikeGLX and as Intan RHD into FOLDER (10 minutes: 1.8 GB each; removed afterwards), reads each
in a process of its own, and prints a Markdown table: how much of the process is resident once the file is open, and at most afterwards.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from realm_edge.readers import neo_formats
from realm_edge.readers.contents import Request
from realm_edge.table import blocks
from tests import lab_files

CHANNELS, RATE, TILE = 48, 30000, 128 * 2000  # samples of a tile


def write(folder: Path, minutes: float) -> Iterator[tuple[str, Path]]:
    """The recordings, of one tile over and over."""
    rng = np.random.default_rng(0)
    tiles = round(minutes * 60 * RATE / TILE)
    counts = rng.integers(-3000, 3000, (TILE, CHANNELS + 1), dtype=np.int16)
    path = lab_files.spikeglx(folder, counts, RATE, 0)
    with path.open("ab") as file:
        for _ in range(tiles - 1):
            file.write(counts.tobytes())
    yield "SpikeGLX", path
    path.unlink()
    path.with_suffix(".meta").unlink()
    numbers, words = np.arange(TILE), np.zeros(TILE, np.uint16)
    path = lab_files.intan(folder / "rat.rhd", RATE, counts[:, :CHANNELS].view(np.uint16), np.zeros((TILE, 0)), words, numbers)
    tile = bytearray(path.read_bytes())
    block = 128 * (4 + 2 * CHANNELS + 2)
    header = len(tile) - TILE // 128 * block
    stamps = np.frombuffer(tile, np.uint8)[header:].reshape(-1, block)[:, : 4 * 128]
    with path.open("ab") as file:
        for number in range(1, tiles):
            stamps[:] = (numbers + number * TILE).astype("<i4").view(np.uint8).reshape(-1, 4 * 128)
            file.write(tile[header:])
    yield "Intan", path
    path.unlink()


def resident() -> float:
    """Of this process, MiB."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def measure(path: Path) -> None:
    start = time.perf_counter()
    signal = next(iter(neo_formats.read(path, Request(0.02)).lfp.values()))()
    opened, before = time.perf_counter() - start, resident()
    most = max(resident() for _ in blocks(signal.data))
    print(f"{len(signal.data):,} | {opened:.2f} | {time.perf_counter() - start - opened:.1f} | {before:.0f} | {most:.0f} |")


def main(folder: Path, minutes: list[float]) -> None:
    print("| format | minutes | samples | to open, s | to read, s | open, MiB | at most, MiB |\n|---|---:|---:|---:|---:|---:|---:|")
    for length in minutes:
        for name, path in write(folder, length):
            print(f"| {name} | {length:g} | ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "--measure", str(path)], check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        measure(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), [float(minutes) for minutes in sys.argv[2:]] or [2, 10])
