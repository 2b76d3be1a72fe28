"""The report on a small made-up run: its simulations go through the real stream reports, so that their shapes cannot drift apart."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from export.stepgraph import GraphBuilder, save_model
from firmware_sim.budgets import load_budgets
from firmware_sim.bundle import Bundle
from firmware_sim.bundle_metadata import Stage
from firmware_sim.compare import Mismatch
from firmware_sim.components import load_components
from firmware_sim.cores import load_core
from firmware_sim.elf import MemoryUse
from firmware_sim.simulate import KernelRow, RegionStep, StreamResult, Visits
from firmware_sim.stream_report import StreamReport, stream_report
from firmware_sim.targets import get_target
from firmware_sim.timing import Cycles
from firmware_sim.workload import Delays, Sensed
from quantization import summaries
from quantization.golden import Golden
from quantization.summaries import CALIBRATION, Row
from realm_edge.app.numbers import format_number
from realm_edge.app.report import plots
from realm_edge.app.report.facts import _quantization, gather
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.stages.report import run as write_report
from realm_edge.documents import jsonable, write_document
from realm_edge.errors import UserError
from realm_edge.files import write_json
from realm_edge.progress import Silent
from realm_edge.settings import Settings
from realm_edge.versions import versions_of

TARGETS = ("cortex-m4", "rv32imc")
BINS, WARM_UP, DIMS = 300, 5, 2
STARTS = (0, 3, WARM_UP + 100)  # of the golden vectors
SCALE, OFFSET = 0.01, 1.0
AXES = ("vx", "vy")
COMPARISON = {
    **{"against": "spikes", "draws": 100, "seed": 0, "probability": 0.87, "ratio": [0.9, 1.5, None]},
    "turns": [{"figure": "sensing.adc-12", "share": 0.25}],
}
R2 = {"lfp": {"float": 0.712, "int8": 0.709, "wiener": 0.551}, "spike": {"float": 0.801, "int8": 0.797, "wiener": 0.702}}
WARNING = "more than 0.1 % of the values at the rail: blocks.0.norm (0.4 %)"
SECTIONS = (
    "summary",
    "budgets",
    "decoding",
    "quantisation",
    "power",
    "bandwidth",
    "cycles",
    "memory",
    "exactness",
    "components",
    "provenance",
)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = _made_up_run(tmp_path_factory.mktemp("report") / "made-up")
    write_report(run, Silent(), TARGETS)
    return run


BESIDE = {"matplotlib", "jinja2"}  # of the report's own packages


def _made_up_run(path: Path, mismatch: Mismatch | None = None, recordings: tuple[tuple[str, str], ...] = ()) -> RunDir:
    run = RunDir.create(path, Settings())
    if recordings:
        run.request("data", {"recordings": [list(recording) for recording in recordings], "behavior": "speed"})
    sessions = [_session("day2", False, not recordings), _session("day3", True, not recordings)]
    run.complete("data", [], {"synthetic": not recordings, "single_recording": False, "sessions": sessions})
    true = _behaviour()
    _save_arrays(run.file("predictions.npz"), bins=np.arange(1000, 1000 + BINS), true=true)
    for stream in R2:
        run.file("student.safetensors" if stream == "lfp" else "student_spike.safetensors").write_bytes(b"made up")
    run.complete("train", [run.file("predictions.npz")], _metrics(synthetic=not recordings))
    run.complete("export", [], {})
    quantised = {
        name: {
            "r2": r2,
            "nrmse_int8_float": 0.011,
            "nrmse_frontend": 0.002,
            "nrmse_decoder": 0.0108,
            "scored_bins": BINS,
            "warm_up_bins": WARM_UP,
            "resets": len(STARTS) - 1,
            "with_history": {
                **{"r2": {name: value - 0.1 for name, value in r2.items()}, "scored_bins": 204},
                **dict.fromkeys(("nrmse_int8_float", "nrmse_frontend", "nrmse_decoder"), 0.01),
            },
            **{"reference_ticks_equal": 2300, "decoder_int8_bytes": 64, "decoder_constant_bytes": 578},
            "warnings": [WARNING] if name == "spike" else [],
        }
        for name, r2 in R2.items()
    }
    write_document(run.file("calibration.json"), CALIBRATION, {"streams": {name: _calibration() for name in R2}})
    for k, (stream, decoder) in enumerate((("lfp", "decoder"), ("spike", "spike_decoder"))):
        stored = np.rint((np.nan_to_num(true) + 0.3 * np.sin(np.arange(BINS) / 7 + k)[:, None] - OFFSET) / SCALE).astype(np.int16)
        decoded = np.concatenate([np.full((WARM_UP, DIMS), 9999, np.int16), stored])
        features = np.zeros((WARM_UP + BINS, 3), np.int16)
        Golden(0, WARM_UP, None, features, decoded, {}, {}, np.array(STARTS)).save(run.file("golden", f"{stream}.npz"))
        _save_model(run.file(f"{decoder}.int8.onnx"))
    run.complete("quantize", [run.file("calibration.json")], quantised)
    for target in TARGETS:
        by_tensor = {"constants": {}, "states": {}, "scratch": {"blocks.0.norm": 32, "tokenizer": 64}}
        decoder_bytes = {"weight_bytes": 64, "state_bytes": 2048, "scratch_bytes": 96, "bytes_by_tensor": by_tensor, "macs_by_layer": {}}
        run.complete(f"compile.{target}", [], {name: {"decoder": decoder_bytes} for name in R2})
        streams = {name: _stream(name, target, mismatch) for name in R2}
        simulation = {
            "target": target,
            "part": get_target(target).part,
            "core": streams["lfp"].core,
            "synthetic": not recordings,
            "streams": streams,
            "budgets": streams["lfp"].budgets,
            "comparisons": [COMPARISON],
            "ok": mismatch is None,
            "ok_nominally": mismatch is None,
            "unverified": streams["lfp"].unverified,
        }
        run.complete(f"simulate.{target}", [], simulation)
    return run


def _calibration() -> dict:
    scales = (0.004, 0.009)
    rows = (
        Row("blocks.0.norm", "activation", "int8", (32,), (0.02, 0.02), 0.0009, 38.91, 0.00234),
        Row("next.block0.h", "state", "int16", (4, 16, 16), scales, 0.0, None, 0.00011),
        Row("head.weight", "weight", "int8", (32, 2), scales, None, 46.9, 0.00512),
    )
    listed = {"weights": {"head.weight": 64}, "tables": {"blocks.0.x.table": 514}, "constants": {}, "states": {"state.block0.h": 2048}}
    size = {**listed, "bytes": {"weights": 64, "tables": 514, "constants": 0, "states": 2048}}
    bins = {"compared_bins": 600, "bins": 900, "warm_up_bins": 150, "segments": 1}
    return {"tensors": rows, "sizes": {"decoder": size, "frontend": size}, "states": [], **bins}


def _session(name: str, heldout: bool, synthetic: bool) -> dict:
    return {
        "name": name,
        "heldout": heldout,
        "segments": len(STARTS) if heldout else 1,
        "synthetic": synthetic,
        "seconds": 26.0,
        "channels": 32,
        "bad_channels": [27],
        "spike_source": "broadband",
        **{"units": 24, "spike_electrodes": None, "targets": list(AXES), "target_unit": "cm/s", "resampling_delay_ms": 0.0},
        **{"bins": 1300, "train_bins": 900, "validation_bins": 100, "test_bins": BINS},
        "unknown_behavior_bins": 5,
        "provenance": {} if synthetic else {"resampled": "LFP 4800 Hz to 1000 Hz, 6.08 ms late"},
    }


def _behaviour() -> np.ndarray:
    t = np.arange(BINS) * 0.02
    true = np.stack([np.sin(2 * t), np.cos(1.3 * t)], axis=1)
    true[40:45] = np.nan
    return true


def _save_arrays(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)


def _save_model(path: Path) -> None:
    graph = GraphBuilder("decoder", ())
    graph.node("Identity", [graph.input("features", np.int16, (DIMS,), unit="made up")], ["decoded"], domain="")
    graph.output("decoded", np.int16, (DIMS,), unit="made up", scale=[SCALE] * DIMS, offset=[OFFSET] * DIMS)
    save_model(graph.build(kind="decoder", rate_hz=50.0, made_from={}), path)


def _metrics(synthetic: bool) -> dict:
    decoders = {
        f"{stream}_{kind}": {
            "r2": r2["float"],
            "r2_with_history": 0.8765,
            "r": 0.85,
            "r2_by_axis": dict.fromkeys(AXES, r2["float"]),
            "r_by_axis": dict.fromkeys(AXES, 0.85),
            **{"bins": BINS, "bins_with_history": BINS, "parameters": 14_000},
            **({"epochs": 0, "phases": {}} if kind == "student" else {"lags": 16, "alpha": 1.0}),
        }
        for stream, r2 in R2.items()
        for kind in ("student", "wiener")
    }
    one = {"sessions": [], "left_out": [], "note": "no other session: pretrained on the training part of the decoded one"}
    several = {"sessions": ["day1", "day2"], "left_out": ["day0"], "note": None}
    fit = {"epochs": 1, "best_epoch": 0, "steps_to_best": 9, "best_validation_loss": 0.5, "train_loss": [0.6], "validation_loss": [0.5]}
    return {
        "session": "day3",
        "synthetic": synthetic,
        "spike_source": "broadband",
        "target_names": list(AXES),
        "target_unit": "cm/s",
        "bin_ms": 20,
        "segments": 1 if synthetic else 7,
        "bins": {"train": 900, "validation": 100, "test": BINS},
        "pretraining": {"lfp": several if synthetic else one, "spike": several if synthetic else one},
        "teacher": {"parameters": 160_000, "pretrain": fit},
        "machine": {"device": "cpu", "processes": 1, "precision": "32"},
        "decoders": decoders,
    }


def _stream(name: str, target: str, mismatch: Mismatch | None) -> StreamReport:
    """One stream's report from invented counts: the spike front end has to do far more than a part can."""
    ticks, tick_cycles = (20, 9_000.0) if name == "lfp" else (600, 14_000.0)
    frontend = Stage(prefix="realm_frontend", rate_hz=ticks * 50.0, state_bytes=640, scratch_bytes=256, weight_bytes=0)
    decoder = Stage(prefix="realm_decoder", rate_hz=50.0, state_bytes=3_200, scratch_bytes=1_500, weight_bytes=15_000)
    kernels = tuple(
        _kernel("decoder", f"blocks.{b}.{layer}", macs) for b in range(2) for layer, macs in (("in_proj", 5_248), ("ssm", 3_072))
    )
    kernels += (_kernel("frontend", "bands.0", 0),)
    regions = {
        "frontend": _region(ticks * tick_cycles, 1 if name == "lfp" else 4),
        "decoder": _region(sum(kernel.cycles for kernel in kernels), 1),
        "send": _region(60, 1),
        "reset": RegionStep(Cycles(6, 6, 6), 3, Visits(len(STARTS), 1500, 1500, *[Cycles(2400.0, 2400.0, 2500.0)] * 3)),
        "loop": RegionStep(Cycles(400, 400, 500), 300, None),
    }
    result = StreamResult(
        bundle=Bundle(Path("bundle"), name, target, frontend, decoder, 150),
        target=get_target(target),
        core=load_core(get_target(target).core),
        emulator="QEMU 7.2",
        steps=1200,
        mismatch=mismatch,
        regions=regions,
        kernels=kernels,
        memory=MemoryUse(
            {".vectors": 64, ".ram_text": 500, ".text": 22_000, ".rodata": 19_000, ".data": 16, ".bss": 8_000, ".stack": 8_192}
        ),
        stack_used=900,
        tick_values=32,
        output_values=DIMS,
    )
    sensed = Sensed(1000.0, 200.0) if name == "lfp" else Sensed(30000.0, 7500.0)
    return stream_report(result, load_budgets(), load_components(), summaries.R2(**R2[name]), sensed, Delays())


def _kernel(stage: str, node: str, macs: int) -> KernelRow:
    cycles = (6.0 * macs + 900, 5.0 * macs + 900, 7.0 * macs + 900)
    return KernelRow(stage, f"realm_{node}", node, "QLinear", macs, 4.0 * macs + 500, *cycles, 0.5 * macs, 2.0 * macs)


def _region(cycles: float, visits: int) -> RegionStep:
    instructions = round(cycles * 0.7 / visits)
    return RegionStep(
        Cycles(cycles, 0.9 * cycles, 1.1 * cycles),
        visits * instructions,
        Visits(1200 * visits, instructions, instructions, *[Cycles(cycles / visits, 0.9 * cycles / visits, 1.1 * cycles / visits)] * 3),
    )


class _References(HTMLParser):
    """Everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.sections: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [values[key] or "" for key in ("src", "href", "xlink:href", "srcset", "data") if key in values]
        assert tag not in ("script", "link", "iframe", "object")
        if tag == "section":
            self.sections.append(values["id"] or "")


def _page(run: RunDir) -> str:
    return run.file("report.html").read_text(encoding="utf-8")


def test_all_sections_and_plots_are_there(reported: RunDir) -> None:
    parsed = _References()
    parsed.feed(_page(reported))
    assert tuple(parsed.sections) == SECTIONS
    assert _page(reported).count("<svg") == 6
    assert "of history" not in _page(reported)  # its session has one segment


def test_a_verification_is_a_section_until_it_is_stale(tmp_path: Path) -> None:
    run = _made_up_run(tmp_path / "verified")
    run.complete("verify", [], _verification())
    write_report(run, Silent(), TARGETS)
    parsed, page = _References(), _page(run)
    parsed.feed(page)
    assert tuple(parsed.sections) == (*SECTIONS[:9], "verification", *SECTIONS[9:])
    assert page.count("<svg") == 7 and run.digest("verify") in page and "realm-edge verify --out ." in page
    assert "over 10,000 decoder steps and 200,000 front-end ticks (10,000 bins), 0.833 times the recording" in page
    assert "by 1.4 % of the output's sd in the first 60 s after the warm-up and by 1.5 % in the last" in page
    assert "<td>5 bins (0.1 s), at most 7 (0.14 s)</td><td>5 bins (0.1 s), at times not within what is watched</td>" in page
    assert '<span class="bad">onnxruntime and the integer reference differ.</span> spike_decoder: &#39;decoded&#39;, tick 7' in page
    assert "The integer graphs fail in long runs" in page
    assert json.loads(run.file("report.json").read_text())["verification"]["ok"] is False
    write_json(run.file("again.json"), {})
    run.complete("quantize", [run.file("calibration.json"), run.file("again.json")], run.summary("quantize"))
    for stage in (f"{verb}.{target}" for target in TARGETS for verb in ("compile", "simulate")):
        run.complete(stage, [], run.summary(stage))
    write_report(run, Silent(), TARGETS)
    assert 'id="verification"' not in _page(run)


def _verification() -> dict:
    settled = {"within": 0.05, "bins": [3, 7], "median_bins": 5.0, "max_bins": 7.0, "median_s": 0.1, "max_s": 0.14}
    at_times = {"within": 0.05, "bins": [3, 5, None], "median_bins": 5.0, "max_bins": None, "median_s": 0.1, "max_s": None}
    lfp = {
        "ok": True,
        "difference": None,
        "ladder": {
            **{"bins": 10_000, "passes": 10 / 12, "frontend_bins": 10_000, "frontend_ticks": 200_000},
            "frontend_feeds_decoder": True,
        },
        "adversarial": [{"input": "rails", "into": "decoder", "bins": 500, "frontend_ticks": 0}],
        "endurance": {
            **{"errors": [0.02, 0.014, 0.015], "first": 0.014, "last": 0.015, "most_growth": 1.5, "holds": True, "frontend": True},
            **{"warm_up_s": 3.0, "seconds": 600.0, "window_s": 200.0, "compared_s": 60.0, "passes": 2.5},
        },
        "reset": {"at_s": [3.0, 9.0], "watched_s": 10.0, "frontend": True, "int8": [settled], "float": [at_times]},
    }
    spike = dict.fromkeys(("ladder", "adversarial", "endurance", "reset"))
    where = {"graph": "spike_decoder", "tensor": "decoded", "tick": 7, "element": [0], "onnxruntime": 1, "reference": 2, "during": None}
    difference = {**where, "line": "spike_decoder: 'decoded', tick 7"}
    streams = {"lfp": lfp, "spike": {"ok": False, "difference": difference, **spike}}
    return {"ok": False, "synthetic": True, "bin_ms": 20, "streams": streams}


def test_the_page_needs_nothing_from_outside(reported: RunDir) -> None:
    parsed = _References()
    parsed.feed(_page(reported))
    assert [reference for reference in parsed.found if not reference.startswith("#")] == []
    assert not re.search(r"@import|url\((?!#)", _page(reported))


def test_synthetic_is_said_in_bold_on_top(reported: RunDir) -> None:
    assert re.search(r"<header>.*<strong>SYNTHETIC", _page(reported), re.DOTALL)


def test_page_and_json_carry_the_numbers_of_the_simulation(reported: RunDir) -> None:
    facts = json.loads(reported.file("report.json").read_text())
    page = _page(reported)
    for target in TARGETS:
        stream = facts["targets"][target]["streams"]["lfp"]
        assert stream == jsonable(reported.summary(f"simulate.{target}").streams["lfp"])
        for key in ("flash_bytes", "ram_bytes", "cycles_per_step", "macs_per_step"):
            assert format_number(stream[key]) in page
        assert format_number(stream["power_uw"]["total"]) in page
        for budget in stream["budgets"]:
            assert budget["name"] in page
    assert facts["macs"]["lfp"]["total"] == 2 * (5_248 + 3_072)
    assert [layer["node"] for layer in facts["macs"]["lfp"]["layers"]] == [
        "blocks.0.in_proj",
        "blocks.0.ssm",
        "blocks.1.in_proj",
        "blocks.1.ssm",
    ]


def test_tensors_are_listed_by_what_they_cost_with_the_warnings_of_their_stream(reported: RunDir) -> None:
    facts, page = json.loads(reported.file("report.json").read_text()), _page(reported)
    names = [row["tensor"] for row in facts["quantization"]["lfp"]["tensors"]]
    assert names == ["head.weight", "blocks.0.norm", "next.block0.h"]
    assert '<td class="n">0.09</td><td class="n">38.9</td><td class="n">0.234</td>' in page
    assert '<td class="n">0.004 to 0.009</td><td class="n">0</td><td class="n">–</td>' in page
    assert page.count(WARNING) == 1 and page.index(WARNING) > page.index("the integer decoder alone 1.08 %")


def test_intermediate_tensors_are_listed_by_bytes(reported: RunDir) -> None:
    assert "decoder: 96 bytes</h3>\n<p><code>tokenizer</code> 64, <code>blocks.0.norm</code> 32</p>" in _page(reported)


def test_a_calibration_of_an_earlier_version_names_the_remedy(tmp_path: Path) -> None:
    run = _made_up_run(tmp_path / "early")
    write_json(run.file("calibration.json"), {"lfp": {"tensors": {}, "states": []}})
    with pytest.raises(UserError, match=r"calibration\.json: it is of an earlier version, not 'realm-edge calibration/2': run 'realm"):
        _quantization(run)
    write_document(run.file("calibration.json"), "realm-edge calibration/9", {"streams": {}})
    with pytest.raises(UserError, match=r"it is of format 'realm-edge calibration/9', not 'realm-edge calibration/2'"):
        _quantization(run)
    write_document(run.file("calibration.json"), CALIBRATION, {"streams": {"lfp": _calibration() | {"bins": "many"}}})
    with pytest.raises(
        UserError, match=r"calibration\.json: streams\.lfp\.bins: .*valid integer.* \(value 'many'\): run 'realm-edge quantize"
    ):
        _quantization(run)


def test_the_versions_that_are_shown_are_those_that_made_the_stages(reported: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(reported.file("report.json").read_text())
    assert facts["provenance"]["versions"] == versions_of(sorted({name for names in MAKERS.values() for name in names} - BESIDE))
    assert facts["format"] == "realm-edge report/3" and facts["made_by"] == versions_of()


def test_what_does_not_fit_is_said_and_has_no_power(reported: RunDir) -> None:
    stream = reported.summary("simulate.cortex-m4").streams["spike"]
    assert stream.power_uw["total"] is None
    assert re.search(r"spikes: does not fit: needs a clock of [\d.]+ MHz", _page(reported))
    assert "needs a clock of" in plots.power({"cortex-m4": reported.summary("simulate.cortex-m4")})


def test_unverified_figures_are_listed_first(reported: RunDir) -> None:
    facts = json.loads(reported.file("report.json").read_text())
    kinds = [figure["confidence"] == "unverified" for figure in facts["components"]]
    assert kinds[0] and kinds == sorted(kinds, reverse=True)
    assert f"{sum(kinds)} of {len(kinds)} figures behind power and latency are unverified" in _page(reported)


def test_provenance_names_every_stage_command_and_settings(reported: RunDir) -> None:
    page = _page(reported)
    for stage in ("data", "train", "export", "quantize", "compile.rv32imc", "simulate.cortex-m4"):
        assert reported.digest(stage) in page
    assert "realm-edge simulate --target rv32imc --out ." in page
    assert "window_bins = 250" in page
    assert "the firmware's output is the same to the bit" in page


def test_equal_runs_give_equal_bytes(reported: RunDir, tmp_path: Path) -> None:
    again = _made_up_run(tmp_path / "made-up")
    write_report(again, Silent(), TARGETS)
    assert _page(again) == _page(reported)


def test_a_real_recording_is_named_and_pretraining_on_itself_is_said(tmp_path: Path) -> None:
    run = _made_up_run(tmp_path / "real", recordings=(("monday.nwb", "ab" * 32),))
    write_report(run, Silent(), TARGETS[:1])
    page = _page(run)
    assert "SYNTHETIC" not in page
    assert "monday.nwb" in page and "ab" * 32 in page
    assert "<strong>no other session: pretrained on the training part of the decoded one</strong>" in page
    assert page.count('<th class="n">R² with 1 s of history</th>') == 1 and '<td class="n">0.876</td>' in page  # its session has pauses
    assert "rv32imc" not in page
    assert "resampled: LFP 4800 Hz to 1000 Hz, 6.08 ms late" in page


def test_a_wrong_bit_fails_the_verdict_and_is_located(tmp_path: Path) -> None:
    run = _made_up_run(tmp_path / "wrong", mismatch=Mismatch("state.block0.h", 17, (3, 1), 5, 6))
    summary = write_report(run, Silent(), TARGETS)
    assert not summary.ok
    page = _page(run)
    assert "All targets are within all budgets" not in page
    assert "the firmware differs from onnxruntime in &#39;state.block0.h&#39; at step 17" in page
    assert "expected 5, got 6" in page
    assert "the firmware&#39;s output is the same to the bit" not in page and "the firmware's output is the same to the bit" not in page


def test_a_missing_simulation_names_its_command(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "empty", Settings())
    with pytest.raises(UserError, match="stage 'data' is missing: run 'realm-edge data --out "):
        gather(run, TARGETS)


def test_the_traces_skip_the_warm_up_and_are_in_the_unit_of_the_behaviour(reported: RunDir) -> None:
    from realm_edge.app.report.traces import load_traces

    shown = load_traces(reported)
    assert shown.seconds[0] == pytest.approx(1001 * 0.02)
    known = np.isfinite(shown.true).all(axis=1)
    assert np.abs(shown.decoded["lfp"] - shown.true)[known].max() < 0.3 + SCALE


def test_segments_and_resets_are_shown(reported: RunDir) -> None:
    from realm_edge.app.report.traces import load_traces

    shown, edge = load_traces(reported), STARTS[-1] - WARM_UP
    assert len(shown.seconds) == BINS + 1 and shown.seconds[edge - 1] == shown.seconds[edge] < shown.seconds[edge + 1]
    for values in (shown.true, *shown.decoded.values()):
        assert np.isnan(values[edge]).all() and np.isfinite(values[[edge - 1, edge + 1]]).all()
    page = _page(reported)
    assert "start anew 2 times in them" in page and "Lines break where a segment starts" in page
    assert "Over the 204 bins with a second of their segment behind them R² is 0.609 in int8, 0.612 in float (0.451 Wiener)" in page
    assert "over 1,200 decoder steps of held-out input with 2 resets, every bit" in page
    assert '<td class="n">2,400; 3,000</td>' in page


def test_memory_parts_add_up(reported: RunDir) -> None:
    stream = reported.summary("simulate.rv32imc").streams["lfp"]
    assert sum(plots.flash_map(stream).values()) == stream.flash_bytes
    assert sum(plots.ram_map(stream).values()) == stream.ram_bytes


def test_comments_in_the_settings_reach_no_report(tmp_path: Path) -> None:
    run = _made_up_run(tmp_path / "made-up")
    before = gather(run, TARGETS)
    config = run.file("config.toml")
    assert before.provenance.settings_toml == config.read_text()
    config.write_text("# anything at all\n" + config.read_text())
    assert gather(RunDir.open(run.path), TARGETS) == before
