"""A tiny hand-written model with the bundle's ABI, its numpy mirror, and QEMU's absence as a reason to skip."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from firmware_sim.bundle_metadata import FORMAT
from firmware_sim.targets import get_target
from firmware_sim.toolchain import zig_cc

CHANNELS, TICKS, OUTPUTS = 3, 5, 2
MACS = CHANNELS * OUTPUTS

FRONTEND_KERNEL = """
#include <stdint.h>
/* leaky sum a channel, summed over the bin */
void realm_frontend_k00_filter(int32_t *leaky, int32_t *sum, const int16_t *x) {
    for (int c = 0; c < 3; c++) { leaky[c] = leaky[c] - (leaky[c] >> 3) + x[c]; sum[c] += leaky[c] >> 2; }
}
void realm_frontend_k01_features(int32_t *sum, int16_t *features) {
    for (int c = 0; c < 3; c++) { features[c] = (int16_t)(sum[c] >> 6); sum[c] = 0; }
}
"""
DECODER_KERNEL = """
#include <stdint.h>
static const int8_t weights[2][3] = {{3, -5, 7}, {-2, 4, WEIGHT}};
void realm_decoder_k00_linear(const int16_t *features, int32_t *h, int16_t *output) {
    for (int o = 0; o < 2; o++) {
        int32_t total = 0;
        for (int c = 0; c < 3; c++) total += weights[o][c] * features[c];
        h[o] = h[o] - (h[o] >> 2) + total;
        output[o] = (int16_t)(h[o] >> SHIFT);
    }
}
"""
FRONTEND_DRIVER = """
#include "realm_frontend.h"
struct state { int32_t leaky[3], sum[3], phase; };
void realm_frontend_k00_filter(int32_t *leaky, int32_t *sum, const int16_t *x);
void realm_frontend_k01_features(int32_t *sum, int16_t *features);
void realm_frontend_init(void *state) { __builtin_memset(state, 0, REALM_FRONTEND_STATE_BYTES); }
void realm_frontend_block(void *state, void *scratch, const int16_t *samples, int32_t count, int16_t *features, int32_t *valid) {
    struct state *s = state;
    (void)scratch;
    *valid = 0;
    for (; count > 0; count--, samples += 3) {
        realm_frontend_k00_filter(s->leaky, s->sum, samples);
        if (++s->phase == 5) { s->phase = 0; *valid = 1; realm_frontend_k01_features(s->sum, features); }
    }
}
"""
DECODER_DRIVER = """
#include "realm_decoder.h"
void realm_decoder_k00_linear(const int16_t *features, int32_t *h, int16_t *output);
void realm_decoder_init(void *state) { __builtin_memset(state, 0, REALM_DECODER_STATE_BYTES); }
void realm_decoder_step(void *state, void *scratch, const int16_t *features, int16_t *output) {
    (void)scratch;
    realm_decoder_k00_linear(features, state, output);
}
"""
FRONTEND_HEADER = """
#include <stdint.h>
#define REALM_FRONTEND_SAMPLE_LEN 3
#define REALM_FRONTEND_FEATURES_LEN 3
#define REALM_FRONTEND_STATE_BYTES 28
#define REALM_FRONTEND_SCRATCH_BYTES 0
void realm_frontend_init(void *state);
void realm_frontend_block(void *state, void *scratch, const int16_t *samples, int32_t count, int16_t *features, int32_t *valid);
"""
DECODER_HEADER = """
#include <stdint.h>
#define REALM_DECODER_FEATURES_LEN 3
#define REALM_DECODER_OUTPUT_LEN 2
#define REALM_DECODER_STATE_BYTES 8
#define REALM_DECODER_SCRATCH_BYTES 16
void realm_decoder_init(void *state);
void realm_decoder_step(void *state, void *scratch, const int16_t *features, int16_t *output);
"""


@dataclass(frozen=True)
class Mirror:
    """What the tiny model computes, by numpy."""

    samples: np.ndarray  # (bins * ticks, CHANNELS) int16
    features: np.ndarray  # (bins, CHANNELS) int16
    outputs: np.ndarray  # (bins, OUTPUTS) int16
    states: dict[str, np.ndarray]  # (bins, ...)


def mirror(bins: int, with_frontend: bool, seed: int = 0, starts: Sequence[int] = (0,)) -> Mirror:
    """Random samples and the tiny model's answer to them, at ``starts`` (bins) from the zero state."""
    random = np.random.default_rng(seed)
    ticks = TICKS if with_frontend else 1
    samples = random.integers(-3000, 3000, (bins * ticks, CHANNELS)).astype(np.int16)
    weights = np.array([[3, -5, 7], [-2, 4, 6]], np.int32)
    leaky, total, h = np.zeros(CHANNELS, np.int32), np.zeros(CHANNELS, np.int32), np.zeros(OUTPUTS, np.int32)
    features = np.zeros((bins, CHANNELS), np.int16)
    outputs, leakies, hs = np.zeros((bins, OUTPUTS), np.int16), np.zeros((bins, CHANNELS), np.int32), np.zeros((bins, OUTPUTS), np.int32)
    for k in range(bins):
        if k in starts:
            leaky, h = leaky * 0, h * 0
        if with_frontend:
            for x in samples[k * ticks : (k + 1) * ticks]:
                leaky = leaky - (leaky >> 3) + x
                total = total + (leaky >> 2)
            features[k] = (total >> 6).astype(np.int16)
            total = total * 0
        else:
            features[k] = samples[k]
        h = h - (h >> 2) + weights @ features[k].astype(np.int32)
        outputs[k], leakies[k], hs[k] = (h >> 4).astype(np.int16), leaky, h
    states = {"state.block0.h": hs}
    if with_frontend:
        states |= {"state.filter.leaky": leakies, "state.filter.sum": np.zeros_like(leakies), "state.phase": np.zeros(bins, np.int32)}
    return Mirror(samples, features, outputs, states)


def data(name: str, elements: int) -> dict:
    """A data tensor in the metadata."""
    return {
        "name": name,
        "dtype": "int16",
        "shape": [elements],
        "unit": "",
        "scale": [1.0] * elements,
        "offset": [0.0] * elements,
        "names": None,
    }


def write_bundle(folder: Path, target_name: str, with_frontend: bool, weight: int = 6, shift: int = 4) -> Path:
    """Write the tiny model as a bundle; ``weight`` is its last one (the mirror has 6), ``shift`` that of its output (the mirror has 4)."""
    compiler = get_target(target_name).compiler
    for part in ("include", "src", "lib"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    kernels = {"realm_decoder_kernels": DECODER_KERNEL.replace("WEIGHT", str(weight)).replace("SHIFT", str(shift))}
    (folder / "include/realm_decoder.h").write_text(DECODER_HEADER)
    (folder / "src/realm_decoder.c").write_text(DECODER_DRIVER)
    decoder = {
        "prefix": "realm_decoder",
        "state_bytes": 8,
        "scratch_bytes": 16,
        "weight_bytes": MACS,
        "inputs": [data("features", CHANNELS)],
        "outputs": [data("output", OUTPUTS)],
        "states": [{"name": "state.block0.h", "offset": 0, "dtype": "int32", "shape": [OUTPUTS]}],
        "kernels": [
            {
                "symbol": "realm_decoder_k00_linear",
                "node": "head",
                "op": "QLinear",
                "macs": MACS,
                "code_bytes": 0,
                "constant_bytes": MACS,
                "stack_bytes": 0,
            }
        ],
        "rate_hz": 50,
    }
    frontend = None
    if with_frontend:
        kernels["realm_frontend_kernels"] = FRONTEND_KERNEL
        (folder / "include/realm_frontend.h").write_text(FRONTEND_HEADER)
        (folder / "src/realm_frontend.c").write_text(FRONTEND_DRIVER)
        frontend = {
            "prefix": "realm_frontend",
            "state_bytes": 28,
            "scratch_bytes": 0,
            "weight_bytes": 0,
            "inputs": [data("sample", CHANNELS)],
            "outputs": [data("features", CHANNELS)],
            "states": [
                {"name": "state.filter.leaky", "offset": 0, "dtype": "int32", "shape": [CHANNELS]},
                {"name": "state.filter.sum", "offset": 12, "dtype": "int32", "shape": [CHANNELS]},
                {"name": "state.phase", "offset": 24, "dtype": "int32", "shape": []},
            ],
            "kernels": [
                {
                    "symbol": "realm_frontend_k00_filter",
                    "node": "filter",
                    "op": "Biquad",
                    "macs": 0,
                    "code_bytes": 0,
                    "constant_bytes": 0,
                    "stack_bytes": 0,
                },
                {
                    "symbol": "realm_frontend_k01_features",
                    "node": "features",
                    "op": "Shift",
                    "macs": 0,
                    "code_bytes": 0,
                    "constant_bytes": 0,
                    "stack_bytes": 0,
                },
            ],
            "rate_hz": 50 * TICKS,
        }
    for name, source in kernels.items():
        (folder / f"{name}.c").write_text(source)
        zig_cc(
            [
                "-target",
                compiler.triple,
                f"-mcpu={compiler.cpu}",
                "-O2",
                "-ffreestanding",
                "-fno-sanitize=all",
                "-ffunction-sections",
                "-c",
                f"{name}.c",
                "-o",
                f"lib/{name}.o",
            ],
            cwd=folder,
        )
    names = ("header", "library", "init", "reset", "step", "step_block")
    api = dict.fromkeys(names, "of stages alone") | {"ticks_per_bin": TICKS if with_frontend else 1}
    stack = {"bytes": 0, "library_bytes": 0, "compiler": "none"}
    memory = {"alignment": 8, "state_bytes": 0, "scratch_bytes": 0, "stack": stack}
    weights = {"bytes": MACS, "checksum": "CRC-32/ISO-HDLC", "value": "0x00000000", "function": "none"}
    metadata = {"format": FORMAT, "made_by": {}, "stream": "lfp", "target": get_target(target_name).build, "made_from": {}}
    metadata |= {"prefix": "realm", "api": api, "memory": memory, "weights": weights}
    metadata |= {"frontend": frontend, "decoder": decoder, "reset": {"calls": [], "warm_up_bins": 25, "warm_up_ms": 500.0}}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


@pytest.fixture
def tiny():
    """Functions ``write_bundle`` and ``mirror`` of the tiny model."""
    return write_bundle, mirror


@pytest.fixture(params=["cortex-m4", "rv32imc"])
def target(request):
    """Each target whose emulator is installed."""
    found = get_target(request.param)
    if shutil.which(found.machine.emulator) is None:
        pytest.skip(f"{found.machine.emulator} is not installed: apt-get install qemu-system-arm qemu-system-misc")
    return found
