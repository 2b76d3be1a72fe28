"""The same kernels and driver as a shared library of this machine: rung 4 of the bit-exact ladder without an emulator."""

import ctypes
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_sim.compiler.bundle import compile_model, describe_states, write_sources
from firmware_sim.compiler.kernels import SCALAR
from firmware_sim.compiler.lower import Machine
from firmware_sim.compiler.plan import FRONTEND
from realm_edge.errors import UserError
from realm_edge.files import read_json, write_json

# Must run on any x86-64, QEMU's included. vector-width only silences a warning.
HOST = Machine({"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu", "mcpu": "x86-64", "vector-width": 128}, SCALAR)

_ALL_BLOCKS = """#include "realm_frontend.h"
/* Runs the front end over samples, in blocks of the given lengths in turn; returns how many rows of features it wrote. */
int32_t all_blocks(
    void *state, void *scratch, const int16_t *samples, int32_t ticks, const int32_t *lengths, int32_t n, int16_t *features) {
    int32_t rows = 0;
    for (int32_t i = 0; ticks > 0; i++) {
        const int32_t length = lengths[i % n] < ticks ? lengths[i % n] : ticks;
        int32_t valid;
        realm_frontend_block(state, scratch, samples, length, features + rows * REALM_FRONTEND_FEATURES_LEN, &valid);
        rows += valid;
        samples += length * REALM_FRONTEND_SAMPLE_LEN;
        ticks -= length;
    }
    return rows;
}
"""


def build_host_model(onnx_path: Path, stage: str, folder: Path, machine: Machine = HOST) -> "HostModel":
    """Compile a step graph for this machine (x86-64 Linux) into ``folder`` and load it.

    Raises:
        UserError: the graph cannot be compiled, or the C compiler fails.
    """
    model = compile_model(onnx_path, stage, machine)
    prefix = model.plan.prefix
    write_sources(folder, model.plan)
    for name, content in model.objects.items():
        (folder / name).write_bytes(content)
    sources = [f"src/{prefix}.c", f"src/{prefix}_weights.c"]
    if stage == FRONTEND:
        (folder / "src" / "all_blocks.c").write_text(_ALL_BLOCKS, encoding="utf-8")
        sources.append("src/all_blocks.c")
    library = folder / f"lib{prefix}.so"
    flags = ["-shared", "-fPIC", "-O2", "-fno-sanitize=all", "-Iinclude"]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, *sources, *model.objects, "-o", library.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{folder}: 'python -m ziglang cc' failed: {done.stderr.strip():.200}; see 'realm-edge doctor'")
    plan = model.plan
    io = {
        what: [{"name": v.name, "dtype": v.dtype, "shape": list(v.shape)} for v in values]
        for what, values in (("inputs", plan.graph.inputs), ("outputs", plan.graph.outputs))
    }
    sizes = {"prefix": prefix, "state_bytes": plan.state_bytes, "scratch_bytes": plan.scratch_bytes}
    write_json(folder / "host.json", {**sizes, **io, "states": [state.model_dump(mode="json") for state in describe_states(plan)]})
    return HostModel(library, read_json(folder / "host.json"))


class HostModel:
    """A compiled step graph of this machine, driven through the bundle's C functions."""

    def __init__(self, library: Path, metadata: Mapping[str, Any]) -> None:
        """``metadata``: prefix, state_bytes, scratch_bytes, inputs, outputs and states, as in a bundle's ``metadata.json``."""
        self._library = ctypes.CDLL(str(library.resolve()))
        self._prefix = metadata["prefix"]
        self._inputs, self._outputs = metadata["inputs"], metadata["outputs"]
        self._states = {s["name"]: s for s in metadata["states"]}
        self._state = np.zeros(metadata["state_bytes"] // 8, np.int64)
        self._scratch = np.zeros(metadata["scratch_bytes"] // 8, np.int64)
        self.reset()

    def reset(self) -> None:
        """Back to the initial state."""
        getattr(self._library, f"{self._prefix}_init")(_pointer(self._state))

    def step(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Decoders: one bin; returns the data outputs."""
        given = [np.ascontiguousarray(inputs[i["name"]], i["dtype"]).reshape(i["shape"]) for i in self._inputs]
        made = {o["name"]: np.zeros(o["shape"], o["dtype"]) for o in self._outputs}
        pointers = [_pointer(a) for a in (self._state, self._scratch, *given, *made.values())]
        getattr(self._library, f"{self._prefix}_step")(*pointers)
        return made

    def run_blocks(self, samples: NDArray[np.int16], lengths: Sequence[int] = (1,)) -> NDArray[np.int16]:
        """Front ends: run over samples (ticks, channels) in blocks of these lengths, again and again.

        Returns the features of the bins that ended, (bins, n_features).
        """
        samples, sizes = np.ascontiguousarray(samples, np.int16), np.array(lengths, np.int32)
        features = np.zeros((len(samples) + 1, self._outputs[0]["shape"][0]), np.int16)
        given = (_pointer(samples), ctypes.c_int32(len(samples)), _pointer(sizes), ctypes.c_int32(len(sizes)))
        rows = self._library.all_blocks(_pointer(self._state), _pointer(self._scratch), *given, _pointer(features))
        return features[:rows].copy()

    def state(self, name: str) -> NDArray:
        """A copy of one state."""
        about = self._states[name]
        count = int(np.prod(about["shape"]))
        return np.frombuffer(self._state.tobytes(), about["dtype"], count, about["offset"]).reshape(about["shape"]).copy()

    def set_state(self, name: str, value: NDArray) -> None:
        """Overwrite one state."""
        about = self._states[name]
        content = np.ascontiguousarray(value, about["dtype"]).reshape(about["shape"]).view(np.uint8).reshape(-1)
        self._state.view(np.uint8)[about["offset"] : about["offset"] + content.size] = content


def _pointer(array: NDArray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
