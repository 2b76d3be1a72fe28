"""Everything the report states, gathered from the finished stages of a run; it becomes ``report.json``."""

import shlex
from collections.abc import Sequence
from typing import Any

from quantization.output import CALIBRATION
from realm_edge.app.rundir import PER_TARGET, RunDir
from realm_edge.documents import read_document
from realm_edge.settings import text_of
from realm_edge.sources import options_of

MAC_RULE = "linear weights + convolution taps + 3 x heads x headdim x d_state per block; nothing else counts"

Facts = dict[str, Any]


def gather(run: RunDir, targets: Sequence[str]) -> Facts:
    """Collect the numbers of ``targets``.

    Raises:
        UserError: a stage is missing or stale; the message names the command that mends it.
    """
    run.require(*(f"simulate.{target}" for target in targets))
    simulations = {target: run.summary(f"simulate.{target}") for target in targets}
    metrics = run.summary("train")
    return {
        "what": _what(run, metrics),
        "sessions": run.summary("data")["sessions"],
        "ok": all(simulation["ok"] for simulation in simulations.values()),
        "bit_exact": all(stream["bit_exact"] for simulation in simulations.values() for stream in simulation["streams"].values()),
        "verdicts": {target: _verdict(simulation) for target, simulation in simulations.items()},
        "accuracy": {"decoders": metrics["decoders"], "scored": run.summary("quantize")},
        "quantization": _quantization(run),
        "verification": run.summary("verify") if run.is_complete("verify") else None,
        "targets": simulations,
        "scratch": _scratch(run, targets[0]),
        "macs": _macs(next(iter(simulations.values()))),
        "mac_rule": MAC_RULE,
        "components": _components(simulations),
        "provenance": _provenance(run, targets),
    }


def _quantization(run: RunDir) -> Facts:
    """By stream: bytes by tensor, and the rows of the tensor table, those that cost most first."""
    chosen = {}
    calibration = read_document(run.file("calibration.json"), CALIBRATION, f"run 'realm-edge quantize --out {run.path}'")
    for name, stream in calibration["streams"].items():
        rows = sorted(stream["tensors"], key=lambda row: -row["nrmse_alone"])
        chosen[name] = {"tensors": rows, "sizes": stream["sizes"], "compared_bins": stream["compared_bins"]}
    return chosen


def _what(run: RunDir, metrics: dict[str, Any]) -> Facts:
    chosen = ("session", "synthetic", "spike_source", "target_names", "target_unit", "bin_ms", "bins", "pretraining", "teacher")
    settings = run.settings
    asked = {"preset": settings.preset, "transform": settings.behavior_transform, "output_delay_ms": settings.output_delay_ms}
    features = run.requested("data").get("features")  # name of the series, where recordings hold features instead of voltage
    segments = metrics.get("segments", 1)  # earlier versions knew of none
    return asked | {"features": features, "segments": segments} | {key: metrics[key] for key in chosen}


def _verdict(simulation: dict[str, Any]) -> Facts:
    """Whether a target holds, and every reason why not."""
    reasons = [
        f"{name}: the firmware differs from onnxruntime in '{stream['mismatch']['tensor']}' at step {stream['mismatch']['step']}"
        for name, stream in simulation["streams"].items()
        if not stream["bit_exact"]
    ]
    reasons += [f"{row['name']} breaks its budget: {row['lever']}" for row in simulation["budgets"] if not row["ok"]]
    return {"ok": simulation["ok"], "reasons": reasons}


def _scratch(run: RunDir, target: str) -> Facts:
    """Bytes of the intermediate tensors by stream and stage, largest first; all targets lay them out alike."""
    return {
        name: {
            stage: {
                "bytes": about["scratch_bytes"],
                "tensors": dict(sorted(about["bytes_by_tensor"]["scratch"].items(), key=lambda item: -item[1])),
            }
            for stage, about in stages.items()
        }
        for name, stages in run.summary(f"compile.{target}").items()
    }


def _macs(simulation: dict[str, Any]) -> Facts:
    """Multiply-accumulates of one step by layer; they do not depend on the target."""
    streams = simulation["streams"]
    rows = {name: [kernel for kernel in stream["kernels"] if kernel["macs"]] for name, stream in streams.items()}
    return {
        name: {"total": sum(row["macs"] for row in kernels), "layers": [{"node": row["node"], "macs": row["macs"]} for row in kernels]}
        for name, kernels in rows.items()
    }


def _components(simulations: dict[str, Any]) -> list[Facts]:
    """The component figures that went into any power or latency, each once, unverified ones first."""
    streams = [stream for simulation in simulations.values() for stream in simulation["streams"].values()]
    figures = {figure["name"]: figure for stream in streams for figure in stream["components"]}
    return sorted(figures.values(), key=lambda figure: (figure["confidence"] != "unverified", figure["name"]))


def _provenance(run: RunDir, targets: Sequence[str]) -> Facts:
    verified = ["verify"] if run.is_complete("verify") else []
    stages = ["data", "train", "export", "quantize", *verified, *(f"{verb}.{target}" for target in targets for verb in PER_TARGET)]
    asked = run.requested("data")
    return {
        "recordings": asked.get("recordings", []),
        "behavior": asked.get("behavior"),
        "settings_sha256": run.settings.digest(),
        "settings_toml": text_of(run.settings),  # the file may hold comments
        "stages": [{"stage": stage, "command": _command(run, stage, asked), "sha256": run.digest(stage)} for stage in stages],
        "versions": {name: number for stage in stages for name, number in run.made_by(stage).items()},
    }


def _command(run: RunDir, stage: str, asked: dict[str, Any]) -> str:
    """As it is given within the run's directory: where that lies is no part of a report."""
    verb, _, target = stage.partition(".")
    words = ["realm-edge", verb]
    if verb == "data":
        words += ["--config", "config.toml"]
        words += [word for name, _ in asked.get("recordings", []) for word in ("--data", name)] + options_of(asked)
    words += ["--target", target] if target else []
    budget = run.requested(stage).get("budget")
    words += ["--budget", f"sha256:{budget}"] if budget else []
    bins = run.requested(stage).get("bins")
    words += ["--bins", str(bins)] if bins else []
    return shlex.join([*words, "--out", "."])
