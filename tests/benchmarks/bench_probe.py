"""What untrained firmware takes by signal and number of channels: python tests/benchmarks/bench_probe.py [--circuit] [TARGET]...

Front end and decoder of preset demo's student are made, compiled, run in QEMU over a second of noise and held against onnxruntime, every
bit, as ``realm-edge verdict`` does it. With --circuit the decoder alone, behind a front end in a circuit. Printed as Markdown: thousands of
cycles of a bin and of its front end, with the part's wait states; flash and RAM in KiB; the wall seconds that it took, in which graphs and
golden vectors are made for the first target of a row and compiled code for the first of a build; and whether it fits.
"""

import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from firmware_sim.verdict.counts import Counts, Signal
from realm_edge.app.verdict.probe import count
from realm_edge.progress import Silent
from realm_edge.settings import preset

TARGETS = ("cortex-m4", "stm32u385", "nrf54l15", "rv32imc")
SIGNALS: tuple[Signal, ...] = ("lfp", "lfp-200", "sbp", "spike")
CHANNELS = (32, 96, 256, 1024)
OUTPUTS = 2


def figures(counts: Counts) -> list[str]:
    parts = (counts.frontend_cycles, counts.decoder_cycles, counts.send_cycles, counts.loop_cycles)
    whole = sum(ends[1] for ends in parts if ends)
    cycles = [f"{whole / 1e3:,.0f}", f"{counts.frontend_cycles[1] / 1e3:,.0f}"] if counts.frontend_cycles else ["–", "–"]
    sizes = ["–" if size is None else f"{size / 1024:,.0f}" for size in (counts.flash_bytes, counts.ram_bytes)]
    return [*cycles, *sizes]


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", default=TARGETS)
    parser.add_argument("--circuit", action="store_true")
    asked = parser.parse_args()
    print(f"| signal | channels | target | bin, k | front end, k | flash, KiB | RAM, KiB | seconds | |\n|---|{'---:|' * 7}---|")
    with tempfile.TemporaryDirectory() as folder:
        for signal in SIGNALS:
            for channels in CHANNELS:
                for target in asked.targets:
                    start = time.monotonic()
                    counts = count(signal, channels, not asked.circuit, target, preset("demo"), OUTPUTS, Path(folder), Silent())
                    took = f"{time.monotonic() - start:.0f}"
                    cells = [signal, f"{channels:,}", target, *figures(counts), took, counts.text]
                    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
