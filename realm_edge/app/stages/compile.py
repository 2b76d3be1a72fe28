"""The compile stage: int8 step graphs to a bundle for one target, from the ONNX files alone."""

import math
from typing import Any

import numpy as np

from firmware_sim.compiler.bundle import write_bundle
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.files import read_json
from realm_edge.progress import Progress


def run(run: RunDir, progress: Progress, target: str, build: str) -> dict[str, Any]:
    """Write ``firmware/<target>/<stream>/`` for every stream.

    Args:
        build: the instruction set of the target, an entry of :func:`firmware_sim.builds.builds`; targets may share one.

    Returns:
        By stream: bytes of weights, state and scratch of front end and decoder, in all and by tensor, and the multiply-accumulates of
        each layer.

    Raises:
        UserError: the quantize stage is missing or stale, the target is unknown, or a graph holds what cannot be compiled.
    """
    run.require("quantize")
    outputs, summary = [], {}
    for stream in progress.track(artefacts.present(run), f"compile for {target}"):
        folder = artefacts.bundle(run, stream, target)
        frontend = artefacts.int8_frontend(run, stream)
        write_bundle(folder, stream.name, build, frontend if frontend.exists() else None, artefacts.int8_decoder(run, stream))
        outputs += sorted(path for path in folder.rglob("*") if path.is_file())
        summary[stream.name] = _summary(read_json(folder / "metadata.json"))
    run.complete(f"compile.{target}", outputs, summary)
    return summary


def _summary(metadata: dict[str, Any]) -> dict[str, Any]:
    stages = {name: metadata[name] for name in ("frontend", "decoder") if metadata[name]}
    return {
        name: {
            **{key: stage[key] for key in ("weight_bytes", "state_bytes", "scratch_bytes")},
            "bytes_by_tensor": {
                "constants": {constant["symbol"]: constant["bytes"] for constant in stage["constants"]},
                "states": {s["name"]: math.prod(s["shape"]) * np.dtype(s["dtype"]).itemsize for s in stage["states"]},
                "scratch": {tensor["name"]: tensor["bytes"] for tensor in stage["scratch"]},  # more than its block: bytes are used again
            },
            "macs_by_layer": {kernel["node"]: kernel["macs"] for kernel in stage["kernels"] if kernel["macs"]},
        }
        for name, stage in stages.items()
    }
