"""What commands tell of made-up summaries, line by line, and the status that they end with."""

import copy
import json

import pytest
from click.testing import CliRunner

from firmware_sim import emulator
from realm_edge.app import cli, summaries
from realm_edge.app import stages as stages_module
from realm_edge.app.cli_text import SYNTHETIC, compared, verdict, verified
from realm_edge.app.rundir import RunDir
from realm_edge.app.summaries import Baselines, Simulation, Verification
from realm_edge.documents import jsonable
from realm_edge.settings import Settings
from tests.loose import loose


def decoder(base: float, *bit_exact: bool) -> dict:
    costs = zip(("rv32imc", "cortex-m4"), bit_exact, strict=True)
    targets = {target: {"bit_exact": exact, "cycles": 1e5 * base + len(target), "cycles_range": [1.0, 2.0]} for target, exact in costs}
    size = {"weight_bytes": round(1e4 * base), "state_bytes": round(1e3 * base), "scratch_bytes": 3, "macs": round(1e5 * base) + 7}
    return {"r2_float": base / 10 + 0.5, "r2_int8": base / 10 + 0.4, "nrmse_int8_float": 0.01, **size, "targets": targets}


COMPARED = {"synthetic": False, "streams": {"lfp": {"student": decoder(1.1, True, True), "wiener": decoder(1.3, True, True)}}}


def test_baselines_are_told_decoder_by_decoder():
    summary = copy.deepcopy(COMPARED) | {"synthetic": True}
    summary["streams"]["lfp"]["wiener"] = decoder(1.3, True, False)
    assert list(compared(loose(Baselines, summary))) == [
        SYNTHETIC,
        "lfp student  R2 0.510 (float 0.610), 110,007 MAC per step, 11,000 bytes of weights, 1,100 of state",
        "  rv32imc      110,007 cycles per step",
        "  cortex-m4    110,009 cycles per step",
        "lfp wiener   R2 0.530 (float 0.630), 130,007 MAC per step, 13,000 bytes of weights, 1,300 of state",
        "  rv32imc      130,007 cycles per step",
        "  cortex-m4    130,009 cycles per step: DIFFERS from onnxruntime",
    ]
    assert next(iter(compared(loose(Baselines, COMPARED)))) != SYNTHETIC


def simulated(bit_exact: bool = True, ok: bool = True) -> dict:
    def stream(base: int, exact: bool, frontend: str, code: str) -> dict:
        cycles = {"cycles_per_step": 1000.0 * base, "cycles_per_step_range": [900.0 * base, 1200.0 * base]}
        about = {
            "steps": 600 + base,
            "fit_text": f"fits: {base} MHz",
            "frontend": frontend,
            "code_runs_from": code,
            "core": {"label": f"label {base}"},
        }
        return {**cycles, **about, "bit_exact": exact}

    budgets = [
        {"name": "power_uw", "limit": 17241.0, "value": 1234.5, "unit": "uW", "state": "holds", "ok": True, "lever": "",
         "decoder_only": True},
        {"name": "latency_ms", "limit": 100.0, "value": None, "unit": "ms", "state": "broken", "ok": False, "lever": "a faster clock",
         "decoder_only": True},
        {"name": "flash_bytes", "limit": 9.0, "value": 8.0, "unit": "bytes", "state": "holds only nominally", "ok": False, "lever": "less",
         "decoder_only": False},
        {"name": "r2", "limit": 0.25, "value": 0.71, "unit": "", "state": "holds" if ok else "broken", "ok": ok,
         "lever": "" if ok else "more data", "decoder_only": False},
    ]  # fmt: skip
    turns = [{"figure": "sensing.adc-12", "share": 0.41}, {"figure": "cycles", "share": 0.2}]
    about = {"draws": 10_000, "seed": 0, "ratio": [0.9, 1.1, 2.0]}
    comparisons = [
        {"against": "spikes", "probability": 0.9876, "turns": turns, **about},
        {"against": "a detector", "probability": 1.0, "turns": [], **about},
    ]
    return {
        "ok": ok,
        "streams": {"lfp": stream(31, True, "run", "RAM: all"), "spike": stream(52, bit_exact, "not run", "flash")},
        "budgets": budgets,
        "comparisons": comparisons,
    }


def test_a_verdict_is_told_stream_by_stream_and_budget_by_budget():
    assert [" ".join(line.split()) for line in verdict(loose(Simulation, simulated(bit_exact=False)))] == [
        "lfp: 631 steps, 31,000 cycles per step (label 31, 27,900 to 37,200), fits: 31 MHz",
        "lfp: code runs from RAM: all",
        "spike: 652 steps, 52,000 cycles per step (label 52, 46,800 to 62,400), fits: 52 MHz: DIFFERS from onnxruntime",
        "spike: front end not run",
        "lfp needs less power than spikes in 98.8 % of 10,000 draws; turned most often by sensing.adc-12 (41 %) and cycles (20 %)",
        "lfp needs less power than a detector in 100.0 % of 10,000 draws; no figure alone turns it",
        "power_uw 1,234.5 of 17,241 uW ok, front end not included",
        "latency_ms none of 100 ms BROKEN: a faster clock",
        "flash_bytes 8 of 9 bytes ONLY NOMINALLY: less",
        "r2 0.71 of 0.25 ok",
    ]
    assert not any("DIFFERS" in line for line in verdict(loose(Simulation, simulated())))
    assert list(verdict(loose(Simulation, simulated(ok=False))))[-1].endswith("BROKEN: more data")


def settled(within: float, median: float | None, most: float | None) -> dict:
    seconds = {"median_s": None if median is None else median / 50, "max_s": None if most is None else most / 50}
    return {"within": within, "median_bins": median, "max_bins": most, **seconds}


def verification(holds: bool = True) -> dict:
    one = {
        "ok": holds,
        "difference": None,
        "ladder": {"bins": 10_000, "frontend_ticks": 200_001, "passes": 0.83},
        "adversarial": [{"bins": 500, "frontend_ticks": 40}, {"bins": 251, "frontend_ticks": 7}],
        "endurance": {"first": 0.014, "last": 0.0175, "most_growth": 1.5, "holds": holds, "seconds": 600.0},
        "reset": {
            "at_s": [3.0, 9.0, 12.0],
            "int8": [settled(0.05, 5, 7), settled(0.01, 31, None)],
            "float": [settled(0.05, 4, 6), settled(0.01, None, None)],
        },
    }
    other = {"ok": False, "difference": {"line": "spike_decoder: tick 7"}} | dict.fromkeys(("ladder", "adversarial", "endurance", "reset"))
    return {"ok": False, "synthetic": False, "streams": {"lfp": one, "spike": other}}


def test_a_verification_is_told_part_by_part():
    assert list(verified(loose(Verification, verification()))) == [
        "lfp: onnxruntime equals the reference over 10,000 decoder steps and 200,001 ticks of the front end (0.83 times the recording)",
        "lfp: and over 2 hostile inputs: 751 steps, 47 ticks",
        "lfp: int8 against float, 600 s: 1.40 % of the sd at the start, 1.75 % at the end, of 2.10 %: ok",
        "lfp: int8 after 3 resets: 5 bins (at most 7, 0.14 s) to within 5 %, 31 bins (at most longer than watched) to within 1 %",
        "lfp: float after 3 resets: 4 bins (at most 6, 0.12 s) to within 5 %, mostly longer than watched to within 1 %",
        "spike: DIFFERS: spike_decoder: tick 7",
    ]
    assert "BROKEN: errors add up" in list(verified(loose(Verification, verification(holds=False))))[2]


def a_baseline_that_differs(target: int, stream: str = "lfp") -> dict:
    summary = copy.deepcopy(COMPARED)
    summary["streams"]["spike"] = {"student": decoder(1.2, True, True)}
    name, cost = list(summary["streams"][stream]["student"]["targets"].items())[target]
    summary["streams"][stream]["student"]["targets"][name] = cost | {"bit_exact": False}
    return summary


SUMMARIES = [
    ("baselines", COMPARED, 0),
    ("baselines", a_baseline_that_differs(0), 1),
    ("baselines", a_baseline_that_differs(1), 1),
    ("baselines", a_baseline_that_differs(0, "spike"), 1),
    ("verify", {"ok": True, "synthetic": True, "streams": {}}, 0),
    ("verify", {"ok": False, "synthetic": True, "streams": {}}, 1),
    ("simulate", simulated(), 0),
    ("simulate", simulated(ok=False), 1),
]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(("command", "summary", "status"), SUMMARIES)
def test_a_command_ends_with_1_where_something_does_not_hold(command, summary, status, as_json, tmp_path, monkeypatch):
    from realm_edge.app.report import verification_plot

    monkeypatch.setattr(emulator, "find_emulator", lambda target: emulator.Emulator("qemu", "7.2.22", 1))
    made = loose(summaries.SUMMARIES[command], summary)
    monkeypatch.setattr(stages_module, "stage_of", lambda verb: lambda run, progress, *arguments: made)
    monkeypatch.setattr(verification_plot, "endurance", lambda summary: {})
    RunDir.create(tmp_path / "run", Settings())
    targets = [] if command == "verify" else ["--target", "rv32imc"]
    result = CliRunner().invoke(cli.main, [command, *targets, "--out", str(tmp_path / "run"), *(["--json"] if as_json else [])])
    assert result.exit_code == status, result.output
    expected = jsonable({"ok": made.ok, "targets": {"rv32imc": made}} if command == "simulate" else made)
    assert not as_json or json.loads(result.stdout) == expected


def test_one_target_that_does_not_hold_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(emulator, "find_emulator", lambda target: emulator.Emulator("qemu", "7.2.22", 1))
    monkeypatch.setattr(stages_module, "stage_of", lambda verb: lambda *args: loose(Simulation, simulated(ok=args[2] == "rv32imc")))
    RunDir.create(tmp_path / "run", Settings())
    both = CliRunner().invoke(cli.main, ["simulate", "--target", "rv32imc", "--target", "cortex-m4", "--out", str(tmp_path / "run")])
    assert both.exit_code == 1
    assert "rv32imc      lfp: 631 steps" in both.stdout and "cortex-m4    r2" in both.stdout
