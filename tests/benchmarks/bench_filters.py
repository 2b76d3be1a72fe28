"""What integers leave of the front ends' filters: python tests/benchmarks/bench_filters.py

Prints a Markdown table for each front end: response, noise and limit cycles of every section against float (quantization/response.py).
"""

import numpy as np
import onnx

from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from quantization.response import responses
from realm_edge.frontend import design, design_spike
from realm_edge.settings import SIX_BANDS, Settings, SpikeSettings

CHANNELS = 4


def lfp(settings: Settings) -> onnx.ModelProto:
    return lfp_frontend_graph(design(settings, np.ones(CHANNELS, bool)), {})


def spikes(settings: Settings) -> onnx.ModelProto:
    return spike_frontend_graph(design_spike(settings, np.full(CHANNELS, -100, np.int32)), {})


FRONTENDS = {
    "LFP, 500 Hz, 20 ms": lfp(Settings()),
    "LFP, 1 kHz, 20 ms": lfp(Settings(lfp=SIX_BANDS)),
    "LFP, 2 kHz, 100 ms": lfp(Settings(bin_ms=100, lfp=SIX_BANDS.model_copy(update={"rate_hz": 2000}))),
    "spikes, 30 kHz, 300 Hz": spikes(Settings()),
    "spikes, 30 kHz, 250 Hz": spikes(Settings(spike=SpikeSettings(highpass_hz=250.0))),
    "spikes, 20 kHz, 500 Hz": spikes(Settings(spike=SpikeSettings(highpass_hz=500.0, rate_hz=20000))),
}


def main() -> None:
    print("| front end | output | passband, Hz | ripple, dB | leak, dB | noise | of a sine of 1 | silence | constant |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, graph in FRONTENDS.items():
        for r in responses(graph):
            leak = "" if r.leak_db is None else f"{r.leak_db:.0f}"
            counts = " | ".join(f"{value:.4f}" for value in (r.noise, r.small_noise, r.silence, r.constant))
            print(f"| {name} | {r.name} | {r.hz[0]:.3g} to {r.hz[1]:.3g} | {r.ripple_db:.2g} | {leak} | {counts} |", flush=True)


if __name__ == "__main__":
    main()
