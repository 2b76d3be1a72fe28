"""The report read back cell by cell: in its facts every number is another, so that one in the wrong place is seen."""

import itertools
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_sim.implant import LATENCY
from quantization.summaries import QuantizedStream
from realm_edge.app.report import facts as facts_module
from realm_edge.app.report import plots
from realm_edge.app.report.facts import Facts, Provenance, What
from realm_edge.app.report.traces import Traces
from realm_edge.app.stages.report import _render
from realm_edge.app.summaries import SUMMARIES, Simulation
from realm_edge.documents import jsonable
from tests.loose import loose

TARGETS, STREAMS, AXES = ("rv32imc", "cortex-m4"), ("lfp", "spike"), ("vx", "vy")
NAMES = {"lfp": "LFP", "spike": "spikes"}
PARTS = ("sensing", "pins", "mcu_active", "mcu_sleep", "supply", "radio", "total")
HOLDS = {"holds": "yes", "holds only nominally": "only nominally", "broken": "NO"}
KINDS = ("weights", "tables", "constants", "states")


class Page(HTMLParser):
    """Tables as lists of rows of cells, and the texts of paragraphs and list items, by section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.texts: dict[str, list[str]] = {}
        self._section, self._open = "top", list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        elif tag == "table":
            self.tables.setdefault(self._section, []).append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th", "p", "li", "h3", "summary"):
            self._open.append("")
        elif tag == "br":
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "p", "li", "h3", "summary"):
            text = " ".join(self._open.pop().split())
            if tag in ("td", "th"):
                self.tables[self._section][-1][-1].append(text)
            else:
                self.texts.setdefault(self._section, []).append(text)


def made_up_facts() -> dict[str, Any]:
    count = itertools.count(1001)

    def n() -> int:
        return next(count)

    def stream(target: str, name: str) -> dict[str, Any]:
        r2 = {"float": n(), "int8": n(), "wiener": n()}
        regions = {
            region: {"p50_cycles_of_a_visit": n(), "p99_cycles_of_a_visit": n(), "longest_visit_cycles": n()}
            for region in ("frontend", "decoder", "send")
        }
        budgets = [
            {"name": budget, "limit": n(), "value": n(), "low": n(), "high": n(), "by_how_much": n(), "unit": unit, "state": state,
             "ok": state == "holds", "lever": f"{budget} of {target} {name}", "source": f"source of {budget}"}
            for budget, unit, state in (
                ("power_uw", "uW", "holds"),
                ("latency_ms", "ms", "holds only nominally" if name == "lfp" else "broken"),
            )
        ]  # fmt: skip
        return {
            "r2": r2,
            "power_uw": {part: n() for part in PARTS},
            "power_uw_range": [n(), n()],
            "latency_ms_range": [n(), n()],
            "required_clock_hz": n() * 1e6,
            "clock_hz": n() * 1e6,
            "duty_cycle": n() / 100,
            "latency_ms": {name: n() for name in (*LATENCY, "total")},
            "bandwidth_bps": {"decoded": n(), "decoded_on_air": n(), "raw": n()},
            "flash_bytes": n(),
            "ram_bytes": n(),
            "state_bytes": n(),
            "cycles_per_step": n(),
            "cycles_per_step_range": [n(), n()],
            "stall_cycles_per_step": n(),
            "macs_per_step": n(),
            "regions": regions,
            "cycles_per_mac": n(),
            "instructions_per_mac": n(),
            "loaded_bytes_per_mac": n(),
            "reset": {"count": n(), "cycles": n(), "warm_up_ms": n()},
            "steps": n(),
            "bit_exact": (target, name) != ("cortex-m4", "spike"),
            "mismatch": {"tensor": "state.h", "step": n(), "index": [3], "expected": n(), "got": n()},
            "core": {"name": f"core of {target}", "label": f"label of {target} {name}"},
            "fits": True,
            "fit_text": f"fit of {target} {name}",
            "frontend": "run",
            "code_runs_from": f"code of {target} {name}",
            "assumed": [],
            "emulator": f"emulator of {target} {name}",
            "budgets": budgets,
            "raw_streaming": {"power_uw": n(), "text": f"raw of {target} {name}"},
            "kernels": [],
        }

    def target(name: str) -> dict[str, Any]:
        streams = {each: stream(name, each) for each in STREAMS}
        core = {part: f"{part} of {name}'s core" for part in ("name", "label", "validation", "source")}
        turns = [{"figure": f"{kind} figure of {name}", "share": n() / 100} for kind in ("first", "second")]
        ratio = [n(), n(), None]
        compared = {"against": f"spikes of {name}", "draws": n(), "seed": 0, "probability": n() / 100, "ratio": ratio, "turns": turns}
        return {
            **{"part": f"part of {name}", "core": core, "streams": streams, "budgets": streams["lfp"]["budgets"]},
            "comparisons": [compared, compared | {"against": f"circuit of {name}", "turns": []}],
        }

    def score(warnings: list[str]) -> dict[str, Any]:
        return {
            **{"r2": {kind: n() for kind in ("float", "int8", "wiener")}, "scored_bins": n(), "warm_up_bins": n(), "resets": n()},
            "with_history": {"r2": {kind: n() for kind in ("float", "int8", "wiener")}, "scored_bins": n()},
            **{name: n() / 100 for name in ("nrmse_int8_float", "nrmse_frontend", "nrmse_decoder")},
            **{"reference_ticks_equal": n(), "warnings": warnings},
        }

    def quantised(name: str) -> dict[str, Any]:
        rows = [
            {"tensor": f"{name}.a", "kind": "activation", "dtype": "int8", "shape": [n()], "scale": [n(), n()],
             "saturated": n() / 100, "sqnr_db": n(), "nrmse_alone": n() / 100},
            {"tensor": f"{name}.b", "kind": "weight", "dtype": "int16", "shape": [n(), n()], "scale": [7, 7],
             "saturated": None, "sqnr_db": None, "nrmse_alone": n() / 100},
        ]  # fmt: skip
        sizes = {
            graph: {"bytes": {kind: n() for kind in KINDS}, "constants": {}}
            | {kind: {f"{graph}.{kind}": n()} for kind in ("weights", "tables", "states")}
            for graph in ("decoder", "frontend")
        }
        return {"tensors": rows, "sizes": sizes, "compared_bins": n()}

    decoders = {
        f"{name}_{kind}": {
            "r2": n(),
            "r2_with_history": n(),
            "r2_by_axis": {axis: n() for axis in AXES},
            "r": n(),
            "angle_error_deg": {"angle": n()},
            "parameters": n(),
        }
        for name in STREAMS
        for kind in ("student", "wiener")
    }
    layers = [{"node": node, "macs": n()} for node in ("tokenizer", "head")]
    return {
        "what": {
            **{"session": "day3", "preset": "demo", "target_names": list(AXES), "target_unit": "cm/s", "transform": "circular"},
            **{"bin_ms": 20, "output_delay_ms": 40, "bins": {part: n() for part in ("train", "validation", "test")}, "segments": 3},
            **{"synthetic": False, "features": None, "teacher": {"parameters": n()}},
            "pretraining": {name: {"note": None, "sessions": [f"{name} day1"], "left_out": [f"{name} day0"]} for name in STREAMS},
        },
        "sessions": [
            {"name": name, "heldout": name == "day3", "segments": 1, "seconds": n(), "channels": n(), "bad_channels": [n()],
             "spike_source": f"source of {name}", "units": n(), "unknown_behavior_bins": n(),
             "provenance": {"resampled": f"note of {name}"}}
            for name in ("day2", "day3")
        ],
        "ok": False,
        "bit_exact": False,
        "verdicts": {
            "rv32imc": {"ok": True, "ok_nominally": True, "reasons": []},
            "cortex-m4": {"ok": False, "ok_nominally": False, "reasons": ["one", "two"]},
        },
        "accuracy": {"decoders": decoders, "scored": {name: score([f"beware of {name}"]) for name in STREAMS}},
        "quantization": {name: quantised(name) for name in STREAMS},
        "verification": None,
        "targets": {name: target(name) for name in TARGETS},
        "scratch": {name: {stage: {"bytes": n(), "tensors": {f"{stage}.t": n()}} for stage in ("frontend", "decoder")} for name in STREAMS},
        "macs": {"lfp": {"total": n(), "layers": layers}, "spike": {"total": n(), "layers": [{"node": "head", "macs": n()}]}},
        "mac_rule": "rule",
        "components": [
            {"name": f"figure {k}", "value": n(), "low": n(), "high": n(), "unit": f"unit {k}",
             "condition": f"condition {k}", "source": f"source {k}",
             "confidence": c}
            for k, c in enumerate(("unverified", "primary"))
        ],
        "provenance": {
            **{"recordings": [["a.nwb", "ab" * 32]], "behavior": "speed", "settings_sha256": "cd" * 32, "settings_toml": "x = 1"},
            **{"stages": [{"command": "realm-edge data", "sha256": "ef" * 32}], "versions": {"numpy": "2.0"}},
        },
    }  # fmt: skip


def text(value: float) -> str:
    """All numbers of the made-up facts are whole and above a hundred once they are in the page's unit."""
    assert abs(value - round(value)) < 1e-6 and round(value) >= 100
    return f"{round(value):,}"


FACTS = made_up_facts()
DRAWN = {name: f"<svg>{name}</svg>" for name in ("traces", "accuracy", "power", "bandwidth", "cycles", "memory", "endurance")}


def rendered(**changes: Any) -> Page:
    return Page(_render(loose(Facts, {**FACTS, **changes}), DRAWN))


@pytest.fixture(scope="module")
def page() -> Page:
    return rendered()


def each_stream() -> list[tuple[str, str, dict[str, Any]]]:
    return [(target, name, one) for target, about in FACTS["targets"].items() for name, one in about["streams"].items()]


SUMMARY = {
    "R² int8 (float; Wiener)": lambda s: f"{text(s['r2']['int8'])} ({text(s['r2']['float'])}; {text(s['r2']['wiener'])})",
    "power, µW": lambda s: text(s["power_uw"]["total"]),
    "… from all figures at their better ends to all at their worse, µW": lambda s: " to ".join(map(text, s["power_uw_range"])),
    "clock needed, of the part's, MHz": lambda s: f"{text(s['required_clock_hz'] / 1e6)} of {text(s['clock_hz'] / 1e6)}",
    "duty cycle": lambda s: f"{text(100 * s['duty_cycle'])} %",
    "latency, worst case, ms": lambda s: text(s["latency_ms"]["total"]),
    "… from better to worse ends, ms": lambda s: " to ".join(map(text, s["latency_ms_range"])),
    "… of it the bin; filters; averaging; resampling, ms": lambda s: "; ".join(
        text(s["latency_ms"][part]) for part in ("bin_wait", "filters", "averaging", "resampling")
    ),
    "bandwidth, decoded, b/s": lambda s: text(s["bandwidth_bps"]["decoded"]),
    "bandwidth, every sample, b/s": lambda s: text(s["bandwidth_bps"]["raw"]),
    "flash, bytes": lambda s: text(s["flash_bytes"]),
    "RAM, bytes": lambda s: text(s["ram_bytes"]),
    "state, bytes": lambda s: text(s["state_bytes"]),
    "cycles per step": lambda s: f"{text(s['cycles_per_step'])}, {s['core']['label']}",
    "… of them flash wait states": lambda s: text(s["stall_cycles_per_step"]),
    "… range of table and wait states": lambda s: " to ".join(map(text, s["cycles_per_step_range"])),
    "MAC per step": lambda s: text(s["macs_per_step"]),
    "cycles per decoder step: half take at most, 99 %, the longest": lambda s: ", ".join(
        text(s["regions"]["decoder"][key]) for key in ("p50_cycles_of_a_visit", "p99_cycles_of_a_visit", "longest_visit_cycles")
    ),
    "cycles per MAC (decoder)": lambda s: text(s["cycles_per_mac"]),
    "instructions per MAC; bytes loaded": lambda s: f"{text(s['instructions_per_mac'])}; {text(s['loaded_bytes_per_mac'])}",
    "cycles of a reset, after a pause; warm-up, ms": lambda s: f"{text(s['reset']['cycles'])}; {text(s['reset']['warm_up_ms'])}",
    "steps, equal to the bit": lambda s: f"{text(s['steps'])}, {'yes' if s['bit_exact'] else 'NO'}",
}


def test_the_summary_has_a_row_a_figure_and_a_column_a_stream(page: Page):
    ((head, *rows),) = page.tables["summary"]
    assert head == ["", *(f"{target} {NAMES[name]}" for target, name, _ in each_stream())]
    assert rows == [[title, *(cell(stream) for _, _, stream in each_stream())] for title, cell in SUMMARY.items()]


def test_the_verdict_is_that_of_each_target(page: Page):
    assert page.texts["top"][-2:] == [
        "rv32imc (part of rv32imc): holds",
        "cortex-m4 (part of cortex-m4): does not hold: one; two",
    ]
    assert "All targets are within all budgets" in _render(loose(Facts, {**FACTS, "ok": True}), DRAWN)
    assert "Not all targets hold." in _render(loose(Facts, FACTS), DRAWN)
    verdicts = {**FACTS["verdicts"], "cortex-m4": {"ok": False, "ok_nominally": True, "reasons": ["one"]}}
    nominal = _render(loose(Facts, {**FACTS, "verdicts": verdicts}), DRAWN)
    assert "All targets are within all budgets with nominal figures alone" in nominal and "holds only nominally" in nominal
    bins = FACTS["what"]["bins"]
    said = f"{text(bins['train'])} bins for training, {text(bins['validation'])} for validation, {text(bins['test'])} for test"
    assert said in page.texts["top"][0] and "40 ms late by design" in page.texts["top"][0]


def test_the_budgets_of_each_stream(page: Page):
    for (head, *rows), (_, _, stream) in zip(page.tables["budgets"], each_stream(), strict=True):
        assert head[1:6] == ["limit", "value", "low to high", "margin", "holds"]
        assert rows == [
            [
                row["name"],
                f"{text(row['limit'])} {unit}",
                text(row["value"]),
                f"{text(row['low'])} to {text(row['high'])}",
                text(row["by_how_much"]),
                HOLDS[row["state"]],
                row["lever"],
            ]
            for row, unit in zip(stream["budgets"], ("µW", "ms"), strict=True)
        ]
    titles = [f"{target} (part of {target}), {NAMES[name]}{'' if name == 'lfp' else ' (comparison)'}" for target, name, _ in each_stream()]
    assert [title for title in page.texts["budgets"] if title in titles] == titles


def test_decoders_and_scores(page: Page):
    ((head, *rows),) = page.tables["decoding"]
    assert head[1:] == ["R²", "R² with 1 s of history", "R² vx", "R² vy", "Pearson r", "mean error, degrees (chance 90)", "parameters"]
    assert rows == [
        [
            name.replace("_", " "),
            *map(text, (d["r2"], d["r2_with_history"], d["r2_by_axis"]["vx"], d["r2_by_axis"]["vy"], d["r"])),
            text(d["angle_error_deg"]["angle"]),
            text(d["parameters"]),
        ]
        for name, d in FACTS["accuracy"]["decoders"].items()
    ]
    for name, q in FACTS["accuracy"]["scored"].items():
        late = q["with_history"]
        assert (
            f"{NAMES[name]}: int8 and float are scored on {text(q['scored_bins'])} bins, after {text(q['warm_up_bins'])} bins of warm-up. "
            f"Filters, lags and states start anew {q['resets']} times in them, where a segment of the recording starts. "
            f"Over the {text(late['scored_bins'])} bins with a second of their segment behind them R² is "
            f"{text(late['r2']['int8'])} in int8, {text(late['r2']['float'])} in float ({text(late['r2']['wiener'])} Wiener)."
        ) in page.texts["decoding"]
    (teacher,) = [line for line in page.texts["decoding"] if line.startswith("Teacher: ")]
    assert teacher.startswith(f"Teacher: {text(FACTS['what']['teacher']['parameters'])} parameters")
    assert "Pretraining, spikes: sessions spike day1; left out for other axes or inputs: spike day0." in teacher


def test_quantisation_of_each_stream(page: Page):
    tables = iter(page.tables["quantisation"])
    for name, q in FACTS["quantization"].items():
        scored = FACTS["accuracy"]["scored"][name]
        parts = [text(100 * scored[key]) for key in ("nrmse_int8_float", "nrmse_frontend", "nrmse_decoder")]
        assert (
            f"int8 against float on held-out bins: NRMSE {parts[0]} %; the integer front end alone {parts[1]} %, the integer decoder alone "
            f"{parts[2]} %. R² {text(scored['r2']['float'])} in float, {text(scored['r2']['int8'])} in int8."
        ) in page.texts["quantisation"]
        (head, first, second), (sizes_head, *size_rows) = next(tables), next(tables)
        a, b = q["tensors"]
        assert head[4:] == ["scale", "at the rail, %", "SQNR, dB", "NRMSE alone, %"]
        scale = f"{text(a['scale'][0])} to {text(a['scale'][1])}"
        measured = [text(100 * a["saturated"]), text(a["sqnr_db"]), text(100 * a["nrmse_alone"])]
        assert first == [f"{name}.a", "activation", "int8", f"{a['shape'][0]}", scale, *measured]
        shape = f"{b['shape'][0]} × {b['shape'][1]}"
        assert second == [f"{name}.b", "weight", "int16", shape, "7", "–", "–", text(100 * b["nrmse_alone"])]
        assert sizes_head[1:] == ["weights, one a parameter", "tables", "other constants", "states"]
        expected = []
        for graph, size in q["sizes"].items():
            expected.append([graph, *(text(size["bytes"][kind]) for kind in KINDS)])
            for kind in ("weights", "tables", "states"):
                ((tensor, bytes_),) = size[kind].items()
                expected.append([tensor, *(text(bytes_) if column == kind else "" for column in KINDS)])
        assert size_rows == expected
        assert f"beware of {name}" in page.texts["quantisation"]
        weights = text(q["sizes"]["decoder"]["bytes"]["weights"])
        assert f"2 tensors, those that cost most first; {weights} bytes of weights" in page.texts["quantisation"]
        assert any(line.startswith(f"Over {text(q['compared_bins'])} training bins.") for line in page.texts["quantisation"])


def compared_lines(target: str, comparisons: list[dict[str, Any]]) -> list[str]:
    first, second = comparisons

    def lead(one: dict[str, Any]) -> str:
        share = f"{text(100 * one['probability'])} % of {text(one['draws'])} draws of all figures and cycles"
        return f"{target}: LFP needs less than {one['against']} in {share}; "

    turns = " and ".join(f"{turn['figure']} ({text(100 * turn['share'])} % of the draws)" for turn in first["turns"])
    tail = f". Half of the draws have a ratio of at least {text(first['ratio'][1])}."
    return [
        f"{lead(first)}the figures that most often turn it alone: {turns}{tail}",
        f"{lead(second)}no figure alone turns it{tail}",
    ]


def test_power_macs_and_scratch(page: Page):
    ((head, *rows),) = page.tables["power"]
    assert head[1:8] == ["sensing", "pins", "MCU active", "MCU sleep", "supply", "radio", "total"]
    assert head[8:] == ["low to high", "every sample sent instead"]
    assert rows == [
        [
            f"{target}, {NAMES[name]}",
            *(text(s["power_uw"][part]) for part in PARTS),
            " to ".join(map(text, s["power_uw_range"])),
            f"{text(s['raw_streaming']['power_uw'])} µW (raw of {target} {name})",
        ]
        for target, name, s in each_stream()
    ]
    said = [line for line in page.texts["power"] if "LFP needs less" in line]
    assert said == [line for target, one in FACTS["targets"].items() for line in compared_lines(target, one["comparisons"])]
    ((head, *rows),) = page.tables["cycles"]
    macs = FACTS["macs"]
    (tokenizer, head_layer), (spike_head,) = macs["lfp"]["layers"], macs["spike"]["layers"]
    assert head == ["layer", "MAC per step, LFP", "MAC per step, spikes"]
    assert rows == [
        ["tokenizer", text(tokenizer["macs"]), "0"],
        ["head", text(head_layer["macs"]), text(spike_head["macs"])],
        ["total", text(macs["lfp"]["total"]), text(macs["spike"]["total"])],
    ]
    for name, stages in FACTS["scratch"].items():
        for stage, one in stages.items():
            at = page.texts["memory"].index(f"{NAMES[name]}, {stage}: {text(one['bytes'])} bytes")
            assert page.texts["memory"][at + 1] == f"{stage}.t {text(one['tensors'][f'{stage}.t'])}"


def test_exactness_components_and_sessions(page: Page):
    for target, name, s in each_stream():
        lead = f"{target}, {NAMES[name]}: "
        (line,) = [each for each in page.texts["exactness"] if each.startswith(lead)]
        if s["bit_exact"]:
            expected = f"over {text(s['steps'])} decoder steps of held-out input with {s['reset']['count']} resets, every bit"
            assert line.startswith(lead + expected) and f"emulator of {target} {name} equals onnxruntime" in line
        else:
            m = s["mismatch"]
            where = f"tensor state.h, step {m['step']}, index [3]: expected {m['expected']}, got {m['got']}."
            assert line == f"{lead}differs from onnxruntime: {where}"
    for name, q in FACTS["accuracy"]["scored"].items():
        ticks = text(q["reference_ticks_equal"])
        assert f"{NAMES[name]}: onnxruntime equals the numpy integer reference over {ticks} ticks." in page.texts["exactness"]
    ((_, *rows),) = page.tables["components"]
    assert rows == [
        [
            *(c["name"], f"{text(c['value'])} {c['unit']}", f"{text(c['low'])} to {text(c['high'])}"),
            *(c["condition"], c["source"], c["confidence"]),
        ]
        for c in FACTS["components"]
    ]
    assert page.texts["components"][0].startswith("1 of 2 figures behind power and latency are unverified")
    (_, *rows), _ = page.tables["provenance"]
    assert rows == [
        [
            *(s["name"], "decoded" if s["heldout"] else "pretraining", text(s["seconds"]), str(s["channels"]), str(s["bad_channels"][0])),
            *(f"{s['spike_source']}, {s['units']} units", text(s["unknown_behavior_bins"]), f"resampled: note of {s['name']}"),
        ]
        for s in FACTS["sessions"]
    ]


def test_a_long_run_in_figures():
    row = {"within": 11.0, "median_bins": 1201, "median_s": 1202, "max_bins": 1203, "max_s": 1204}
    other = {"within": 11.0, "median_bins": 1205, "median_s": 1206, "max_bins": 1207, "max_s": 1208}
    lfp = {
        "difference": None,
        "ladder": {"bins": 1211, "frontend_ticks": 1212, "frontend_bins": 1213, "passes": 1214, "frontend_feeds_decoder": True},
        "adversarial": [{"input": "rails", "into": "decoder", "bins": 1300, "frontend_ticks": 1400},
                        {"input": "zeros", "into": "front end", "bins": 150, "frontend_ticks": 260}],
        "endurance": {"seconds": 1215, "passes": 1216, "first": 12.17, "last": 12.18, "compared_s": 1219, "window_s": 1220,
                      "most_growth": 1221, "holds": True, "frontend": True},
        "reset": {"at_s": [1, 2, 3], "watched_s": 1222, "int8": [row], "float": [other]},
    }  # fmt: skip
    page = rendered(verification={"ok": True, "streams": {"lfp": lfp}})
    said = page.texts["verification"]
    assert (
        "Recorded input: every bit of every output and state of onnxruntime equals the numpy integer reference over 1,211 decoder steps "
        "and 1,212 front-end ticks (1,213 bins), 1,214 times the recording."
    ) in said
    assert any(
        "equal over 1,450 decoder steps and 1,660 front-end ticks: rails into the decoder, zeros into the front end." in s for s in said
    )
    assert (
        "Endurance: over 1,215 s of continuous input (1,216 times the recording, end to end) int8 differs from float, from the same cold "
        "start, by 1,217 % of the output's sd in the first 1,219 s after the warm-up and by 1,218 % in the last (medians of 1,220 s "
        "windows). At most 1,221 times the first: yes."
    ) in said
    ((head, cells),) = page.tables["verification"]
    assert head == ["after the state was lost (3 times, 1,222 s watched), until for good", "int8", "float"]
    assert cells == [
        "within 1,100 % of the output's sd of what it would be",
        "1,201 bins (1,202 s), at most 1,203 (1,204 s)",
        "1,205 bins (1,206 s), at most 1,207 (1,208 s)",
    ]


# --- facts ------------------------------------------------------------------------------------------------------------------------------


class Gathered:
    """As much of a run as the facts ask for."""

    def __init__(self, simulations: dict[str, Any], compiled: dict[str, Any] | None = None, verified: bool = False) -> None:
        self.summaries = {f"simulate.{target}": one for target, one in simulations.items()}
        self.summaries |= {f"compile.{target}": one for target, one in (compiled or {}).items()}
        self.summaries |= {
            "train": {"decoders": {"lfp_student": {"r2": 0.5}}},
            "quantize": {"lfp": {"resets": 3}},
            "data": {"sessions": [{"name": "monday"}]},
            "verify": {"bin_ms": 20},
        }
        self.verified, self.required = verified, list[str]()

    def require(self, *stages: str) -> None:
        self.required += stages

    def summary(self, stage: str) -> Any:
        return loose(SUMMARIES[stage.partition(".")[0]], self.summaries[stage])

    def is_complete(self, stage: str) -> bool:
        return stage == "verify" and self.verified

    def file(self, *parts: str) -> Path:
        return Path("no-run", *parts)  # no board was checked


def simulation(ok: bool = True, exact: tuple[bool, bool] = (True, True), macs: int = 5, budget_ok: bool = True) -> dict[str, Any]:
    def stream(name: str, bit_exact: bool, k: int) -> dict[str, Any]:
        kernels = [{"node": "a", "macs": macs + k}, {"node": "norm", "macs": 0}, {"node": "b", "macs": 10 * macs + k}]
        mismatch = None if bit_exact else {"tensor": f"state of {name}", "step": 17 + k}
        figures = [{"name": "z", "confidence": "primary"}, {"name": f"a of {name}", "confidence": "unverified"}]
        return {"bit_exact": bit_exact, "mismatch": mismatch, "kernels": kernels, "components": figures}

    streams = {name: stream(name, one, k) for k, (name, one) in enumerate(zip(STREAMS, exact, strict=True))}
    budgets = [
        {"name": "r2", "state": "holds" if budget_ok else "broken", "lever": "more data"},
        {"name": "power_uw", "state": "holds" if budget_ok else "holds only nominally", "lever": "narrower ranges"},
    ]
    return {"ok": ok, "ok_nominally": True, "streams": streams, "budgets": budgets}


@pytest.fixture
def gather(monkeypatch):
    for name, made in (("_what", loose(What, {})), ("_quantization", {}), ("_provenance", loose(Provenance, {}))):
        monkeypatch.setattr(facts_module, name, lambda *args, made=made: made)
    compiled = {
        target: {
            name: {"decoder": {"scratch_bytes": base + k, "bytes_by_tensor": {"scratch": {"small": base + k + 10, "large": base + k + 20}}}}
            for k, name in enumerate(STREAMS)
        }
        for base, target in ((100, "rv32imc"), (200, "cortex-m4"))
    }
    return lambda simulations, verified=False: jsonable(facts_module.gather(Gathered(simulations, compiled, verified), list(simulations)))


@pytest.mark.parametrize("failing", [None, 0, 1])
def test_all_targets_have_to_hold_and_all_bits_to_be_equal(gather, failing):
    held = {target: simulation(ok=at != failing) for at, target in enumerate(TARGETS)}
    assert gather(held)["ok"] is (failing is None)
    for stream in range(2):
        exact = {target: simulation(exact=tuple((at, s) != (failing, stream) for s in range(2))) for at, target in enumerate(TARGETS)}
        found = gather(exact)
        assert found["bit_exact"] is (failing is None)
        for at, target in enumerate(TARGETS):
            reasons = [f"{STREAMS[stream]}: the firmware differs from onnxruntime in 'state of {STREAMS[stream]}' at step {17 + stream}"]
            assert found["verdicts"][target] == {"ok": True, "ok_nominally": True, "reasons": reasons if at == failing else []}
    assert gather({"rv32imc": simulation(ok=False, budget_ok=False)})["verdicts"]["rv32imc"] == {
        "ok": False,
        "ok_nominally": True,
        "reasons": ["r2 breaks its budget: more data", "power_uw holds only nominally: narrower ranges"],
    }


def test_what_does_not_depend_on_the_target_is_that_of_the_first(gather):
    simulations = {"rv32imc": simulation(macs=5), "cortex-m4": simulation(macs=7)}
    found = gather(simulations)
    assert found["macs"] == {
        "lfp": {"total": 55, "layers": [{"node": "a", "macs": 5}, {"node": "b", "macs": 50}]},
        "spike": {"total": 57, "layers": [{"node": "a", "macs": 6}, {"node": "b", "macs": 51}]},
    }
    assert found["scratch"]["lfp"] == {"decoder": {"bytes": 100, "tensors": {"large": 120, "small": 110}}}
    assert list(found["scratch"]["spike"]["decoder"]["tensors"].items()) == [("large", 121), ("small", 111)]
    assert list(found["targets"]) == ["rv32imc", "cortex-m4"]
    assert [figure["name"] for figure in found["components"]] == ["a of lfp", "a of spike", "z"]
    assert found["accuracy"] == {"decoders": {"lfp_student": {"r2": 0.5}}, "scored": {"lfp": {"resets": 3}}}
    assert found["sessions"] == [{"name": "monday"}]
    assert found["verification"] is None and gather(simulations, verified=True)["verification"] == {"bin_ms": 20}


# --- plots ------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def figures(monkeypatch):
    """Plots as figures, whose bars and lines can be measured."""
    monkeypatch.setattr(plots, "svg_text", lambda figure: figure)


def widths(axis) -> list[float]:
    return [patch.get_width() for patch in axis.patches]


def labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def notes(axis) -> list[str]:
    return [each.get_text() for each in axis.texts]


@pytest.mark.usefixtures("figures")
def test_bars_of_accuracy_and_power():
    scored = FACTS["accuracy"]["scored"]
    (axis,) = plots.accuracy(loose(dict[str, QuantizedStream], scored)).axes
    heights = [patch.get_height() for patch in axis.patches]
    assert heights == [scored[name]["r2"][kind] for kind in ("wiener", "float", "int8") for name in STREAMS]
    assert [bar.get_label() for bar in axis.containers] == ["Wiener (float)", "student, float", "student, int8"]

    (axis,) = plots.power(loose(dict[str, Simulation], FACTS["targets"])).axes
    rows = [stream for _, _, stream in each_stream()]
    assert widths(axis) == [row["power_uw"][part] for part in PARTS[:-1] for row in rows]
    assert [bar.get_label() for bar in axis.containers] == ["sensing", "pins", "MCU active", "MCU sleep", "supply", "radio"]
    assert labels(axis) == [f"{target}\n{NAMES[name]}" for target, name, _ in each_stream()]
    assert notes(axis) == [f"{text(row['power_uw']['total'])} µW" for row in rows]


@pytest.mark.usefixtures("figures")
def test_bars_of_bandwidth_cycles_and_memory():
    one = FACTS["targets"]["rv32imc"]
    (axis,) = plots.bandwidth(loose(Simulation, one)).axes
    keys = ("raw", "decoded_on_air", "decoded")
    assert widths(axis) == [one["streams"][name]["bandwidth_bps"][key] for name in STREAMS for key in keys]
    assert axis.xaxis.get_major_formatter()(10_000.0, 0) == "10000"  # no formula, which would stand there as it is written
    assert labels(axis)[:3] == ["LFP: every sample", "LFP: decoded, on air", "LFP: decoded, payload"]
    assert [plots._bits(value) for value in (999.0, 1_500.0, 2_340_000.0)] == ["999 b/s", "1.50 kb/s", "2.34 Mb/s"]

    kernels = [{"node": f"k{i}", "op": "Q", "symbol": "", "stage": "decoder", "cycles": 100.0 + i} for i in range(plots.KERNELS_SHOWN + 2)]
    streams = {"lfp": {"kernels": kernels, "core": {"name": "core", "label": "label"}, "frontend": "run"}}
    (axis,) = plots.cycles(loose(dict[str, Simulation], {"rv32imc": {"streams": streams}})).axes
    assert widths(axis) == [*(100.0 + i for i in range(plots.KERNELS_SHOWN + 1, 1, -1)), 201.0]
    assert labels(axis)[0] == f"k{plots.KERNELS_SHOWN + 1} Q" and labels(axis)[-1] == "2 others"

    sections = {".vectors": 1024, ".text": 3 * 1024, ".rodata": 9 * 1024, ".data": 512, ".bss": 50 * 1024, ".stack": 7 * 1024}
    sections |= {".ram_text": 2 * 1024}
    memory = {"sections": sections, "weight_bytes": 5 * 1024, "scratch_bytes": 12 * 1024, "adc_buffer_bytes": 3 * 1024}
    memory |= {"part_flash_bytes": 100 * 1024, "part_ram_bytes": 200 * 1024}
    stream = {"memory": memory, "state_bytes": 20 * 1024}
    flash, ram = plots.memory(loose(dict[str, Simulation], {"rv32imc": {"streams": {"lfp": stream}}})).axes
    assert widths(flash) == [5, 4, 6, 0.5] and notes(flash) == ["15.5 of 100 KiB (15.5%)"]
    assert widths(ram) == [20, 12, 3, 7, 18.5, 2] and notes(ram) == ["62.5 of 200 KiB (31.2%)"]


@pytest.mark.usefixtures("figures")
def test_traces_show_each_axis_of_each_stream():
    seconds = np.arange(30) + 100.0
    true, lfp, spike = (np.arange(60.0).reshape(30, 2) + offset for offset in (0, 1000, 2000))
    first, second = plots.traces(Traces(seconds, true, {"lfp": lfp, "spike": spike}), ["vx", "vy"], "cm/s").axes
    for dim, (axis, name) in enumerate(((first, "vx"), (second, "vy"))):
        shown = seconds <= 120.0
        for line, values in zip(axis.lines, (true, lfp, spike), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), seconds[shown])
            np.testing.assert_array_equal(line.get_ydata(), values[shown, dim])
        assert axis.get_ylabel() == f"{name}\n(cm/s)"
    assert [line.get_label() for line in first.lines] == ["true", "decoded from LFP (int8)", "decoded from spikes (int8)"]
