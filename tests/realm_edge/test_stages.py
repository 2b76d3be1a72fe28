"""What the stages hand from one package to the next, with made-up results in which every number is another: nothing is trained or run."""

from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.stepgraph import metadata
from firmware_sim.bundle_metadata import BundleMetadata
from firmware_sim.compare import Expected
from firmware_sim.simulate import StreamResult
from firmware_sim.stream_report import StreamReport
from firmware_sim.targets import get_target
from firmware_sim.timing import Cycles
from firmware_sim.workload import Delays, Sensed
from quantization.golden import Golden
from quantization.summaries import R2, CalibratedStream, StreamScores, VerifiedStream
from realm_edge.app import artefacts
from realm_edge.app.report.facts import Facts
from realm_edge.app.stages import baselines, export, quantize, simulate, verify
from realm_edge.app.stages import compile as compile_stage
from realm_edge.app.stages import report as report_stage
from realm_edge.app.summaries import ComparedDecoder
from realm_edge.documents import jsonable, read_document
from realm_edge.errors import UserError
from realm_edge.frontend import averaging_s, filter_delay_s
from realm_edge.progress import Silent
from realm_edge.session import Session
from realm_edge.settings import LfpSettings, Settings, SpikeSettings
from realm_edge.streams import LFP, SPIKE
from tests.loose import loose
from tests.made_up import TRAIN, VALIDATION, MadeUpRun, session

SETTINGS = Settings(bin_ms=40, output_delay_ms=120, lfp=LfpSettings(rate_hz=500), spike=SpikeSettings(rate_hz=24000))
SCORED = {"lfp": {"float": 0.71, "int8": 0.62, "wiener": 0.53}, "spike": {"float": 0.84, "int8": 0.75, "wiener": 0.66}}


def a_run(tmp_path, **summaries: Any) -> MadeUpRun:
    run = MadeUpRun(tmp_path, SETTINGS, summaries)
    for stream in (LFP, SPIKE):
        artefacts.student(run, stream).write_bytes(b"")
    return run


def returning(calls: list, value: Any):
    """A function that notes its arguments and returns ``value``, or what it makes of the arguments."""

    def function(*args: Any, **named: Any) -> Any:
        calls.append((args, named))
        return value(*args, **named) if callable(value) else value

    return function


# --- simulate ---------------------------------------------------------------------------------------------------------------------------


def golden(seed: int, with_samples: bool) -> Golden:
    rng = np.random.default_rng(seed)

    def ints(*shape: int) -> np.ndarray:
        return rng.integers(-99, 99, shape).astype(np.int16)

    states = {"state.a": ints(4, 1)}, {"state.b": ints(4, 2)}
    return Golden(7 + seed, 2, ints(8, 3) if with_samples else None, ints(4, 5), ints(4, 2), *states, np.array([0, 1 + seed]))


def made_up_report(name: str, bit_exact: bool, ok: str) -> StreamReport:
    budgets = [{"name": "r2", "ok": True, "state": "holds"}, {"name": f"of {name}", "ok": ok == "holds", "state": ok}]
    core = {"name": f"core of {name}"}
    about = {"bit_exact": bit_exact, "budgets": budgets, "core": core, "unverified": [f"z of {name}", "a of both"]}
    return loose(StreamReport, about)


@dataclass
class Simulated:
    summary: dict[str, Any]
    run: MadeUpRun
    streams: list  # of simulate_stream
    reports: list  # of stream_report
    goldens: dict[str, Golden]
    checked: list
    compared: list


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    def simulate_with(
        bit_exact=("lfp", "spike"), within=("lfp", "spike"), with_samples=True, spikes_with_samples=False, without="broken"
    ) -> Simulated:
        sessions = [
            {"resampling_delay_ms": 1.5, "heldout": False, "spike_electrodes": 77},
            {"resampling_delay_ms": 6.25, "heldout": True, "spike_electrodes": 12},
        ]
        quantised = {name: {"r2": r2} for name, r2 in SCORED.items()}
        run = a_run(tmp_path, quantize=quantised, data={"sessions": sessions}, train={"synthetic": True})
        goldens = {"lfp": golden(0, with_samples), "spike": golden(1, spikes_with_samples)}
        streams: list = []
        reports: list = []
        checked: list = []
        compared: list = []
        monkeypatch.setattr(Golden, "load", staticmethod(lambda path: goldens[path.stem]))
        monkeypatch.setattr(simulate, "load_budgets", lambda path: ("budgets", path))
        monkeypatch.setattr(simulate, "load_components", lambda path: ("components", path))
        monkeypatch.setattr(simulate, "ranged_case", lambda *of: ("case", *of))
        monkeypatch.setattr(simulate, "compared", returning(compared, lambda *of: ()))
        monkeypatch.setattr(simulate, "check_compiled", lambda *of: checked.append((of, len(streams))))
        monkeypatch.setattr(simulate, "simulate_stream", returning(streams, lambda bundle, *rest, **more: f"result of {bundle.name}"))

        def reported(result: str, *rest: Any) -> StreamReport:
            name = result.removeprefix("result of ")
            return made_up_report(name, name in bit_exact, "holds" if name in within else without)

        monkeypatch.setattr(simulate, "stream_report", returning(reports, reported))
        summary = jsonable(simulate.run(run, Silent(), "rv32imc", tmp_path / "limits.toml", tmp_path / "mine.toml"))
        return Simulated(summary, run, streams, reports, goldens, checked, compared)

    return simulate_with


def test_each_stream_is_simulated_on_its_own_golden_vectors(simulated, tmp_path):
    found = simulated()
    assert [args[0] for args, _ in found.streams] == [tmp_path / "firmware" / "rv32imc" / name for name in ("lfp", "spike")]
    graphs = (None, tmp_path / "decoder.int8.onnx"), (None, tmp_path / "spike_decoder.int8.onnx")  # there is no file of a front end
    of = [(args[0], args[0].name, "rv32imc", *graphs[at]) for at, (args, _) in enumerate(found.streams)]
    assert found.checked == list(zip(of, range(2), strict=True))  # each bundle is held against its graphs before it runs
    for (args, named), one in zip(found.streams, found.goldens.values(), strict=True):
        _, target, samples, expected, _ = args
        assert target == get_target("rv32imc")
        assert samples is (one.features if one.samples is None else one.samples) and named["starts"] is one.starts
        features = None if one.samples is None else one.features
        assert isinstance(expected, Expected) and expected.outputs is one.decoded and expected.features is features
        assert expected.states == {"state.a": one.frontend_states["state.a"], "state.b": one.decoder_states["state.b"]}
    assert found.run.required == ["compile.rv32imc"]


def test_each_stream_is_reported_with_its_own_accuracy_rate_and_delays(simulated, tmp_path):
    found = simulated()
    budgets = ("budgets", tmp_path / "limits.toml")
    (lfp, _), (spike, _) = found.reports
    r2 = {name: R2(**values) for name, values in SCORED.items()}
    settings = found.run.settings
    delays = Delays(0.12, 0.00625, filter_delay_s(settings), averaging_s(settings))
    assert len({0.0, *asdict(delays).values()}) == 5
    components = ("components", tmp_path / "mine.toml")
    sensed = Sensed(500, max(high for _, high in settings.lfp.bands_hz), 12), Sensed(24000, 6000.0, 12)
    assert lfp == ("result of lfp", budgets, components, r2["lfp"], sensed[0], delays)
    assert spike == ("result of spike", budgets, components, r2["spike"], sensed[1], Delays(0.12))  # its samples are no resampled ones
    [(compared, _)] = found.compared
    of_spikes = ("case", "result of spike", sensed[1], Delays(0.12))
    assert compared == (("case", "result of lfp", sensed[0], delays), "result of spike", of_spikes, components)


def test_spikes_that_the_firmware_counts_itself_wait_for_no_bands(simulated):
    reports = simulated(spikes_with_samples=True).reports
    assert [args[5] == Delays(0.12) for args, _ in reports] == [False, True]


def test_the_simulation_says_what_the_lfp_stream_does_and_names_every_doubt(simulated):
    found = simulated()
    summary = found.summary
    assert (summary["target"], summary["part"], summary["core"]) == ("rv32imc", "generic Ibex SoC", {"name": "core of lfp"})
    assert summary["synthetic"] is True and summary["unverified"] == ["a of both", "z of lfp", "z of spike"]
    assert [row["name"] for row in summary["budgets"]] == ["r2", "of lfp"]
    outputs, recorded = found.run.completed["simulate.rv32imc"]
    assert jsonable(recorded) == summary and read_document(outputs[0], "realm-edge simulation/2", dict, "") == summary
    assert [path.relative_to(found.run.path).as_posix() for path in outputs] == ["simulation/rv32imc.json"]


def test_what_holds_only_nominally_is_no_plain_yes(simulated):
    found = simulated(within=("spike",), without="holds only nominally").summary
    assert (found["ok"], found["ok_nominally"]) == (False, True)
    broken = simulated(within=("spike",)).summary
    assert (broken["ok"], broken["ok_nominally"]) == (False, False)
    assert simulated(bit_exact=()).summary["ok_nominally"] is False


@pytest.mark.parametrize(
    ("bit_exact", "within", "ok"),
    [
        (("lfp", "spike"), ("lfp", "spike"), True),
        (("lfp", "spike"), ("lfp",), True),  # the spike baseline's budgets are there for comparison
        (("lfp", "spike"), ("spike",), False),
        (("lfp",), ("lfp", "spike"), False),  # its bits are not
        (("spike",), ("lfp", "spike"), False),
    ],
)
def test_a_target_holds_where_all_bits_are_equal_and_the_lfp_stream_keeps_its_budgets(simulated, bit_exact, within, ok):
    assert simulated(bit_exact, within).summary["ok"] is ok


def test_without_a_front_end_the_firmware_reads_features(simulated):
    found = simulated(with_samples=False)
    (args, _), _ = found.streams
    assert args[2] is found.goldens["lfp"].features and args[3].features is None
    assert found.reports[0][0][5] == Delays(0.12, 0.00625)  # nobody knows how late they are


# --- quantize ---------------------------------------------------------------------------------------------------------------------------


SIZES = {"decoder": {"bytes": {"weights": 640, "tables": 514, "constants": 33, "states": 2048}}, "frontend": {"bytes": {"weights": 5}}}


def scores_of(name: str) -> StreamScores:
    rest = {"nrmse_int8_float": 0.011, "nrmse_frontend": 0.002, "nrmse_decoder": 0.01, "scored_bins": 40, "warm_up_bins": 2, "resets": 1}
    return StreamScores(r2=R2(**SCORED[name]), **rest, with_history=None)


@dataclass
class Quantised:
    summary: dict[str, Any]
    run: MadeUpRun
    said: list[str]
    calls: dict[str, list]


@pytest.fixture
def quantised(tmp_path, monkeypatch):
    run = a_run(tmp_path)
    calls: dict[str, list] = {name: [] for name in ("quantise", "golden", "check", "score", "warn", "saved")}
    decoded = session(spike_source="units")  # sorted units: no front end
    monkeypatch.setattr(quantize, "load_sessions", lambda run: [session("day2", heldout=False), decoded])
    monkeypatch.setattr(quantize, "load_tried", lambda path, kind: f"model {path.name}")
    monkeypatch.setattr(quantize, "save_model", lambda model, path: calls["saved"].append((model, path.name)))
    monkeypatch.setattr(quantize, "Npz", lambda path: {f"{name}_wiener": f"wiener of {name}" for name in ("lfp", "spike")})

    def made(graphs, stream, session, settings, progress):
        about = loose(CalibratedStream, {"tensors": f"rows of {stream.name}", "sizes": SIZES, "states": [stream.name]})
        frontend = None if graphs.frontend is None else f"int8 front end of {stream.name}"
        return SimpleNamespace(about=about, decoder=f"int8 decoder of {stream.name}", frontend=frontend)

    class MadeUpGolden:
        def __init__(self, name):
            self.name = name

        def save(self, path):
            calls["saved"].append((self, path.name))

    monkeypatch.setattr(quantize, "quantise", returning(calls["quantise"], made))
    monkeypatch.setattr(quantize, "make_golden", returning(calls["golden"], lambda settings, stream, *rest: MadeUpGolden(stream.name)))
    monkeypatch.setattr(
        quantize, "check_reference", returning(calls["check"], lambda golden, *rest: {"lfp": 111, "spike": 222}[golden.name])
    )
    monkeypatch.setattr(quantize, "score", returning(calls["score"], lambda golden, *rest: scores_of(golden.name)))
    monkeypatch.setattr(quantize, "warnings", returning(calls["warn"], lambda rows, scores: [f"beware of the {rows}"]))

    class Said(Silent):
        def say(self, text):
            said.append(text)

    said: list[str] = []
    return Quantised(
        quantize.run(
            run,
            Said(),
        ),
        run,
        said,
        calls,
    ), decoded


def test_float_graphs_of_a_stream_become_its_integer_graphs(quantised):
    found, decoded = quantised
    (lfp, _), (spike, _) = found.calls["quantise"]
    made_from = {"settings": SETTINGS.digest(), "export": "lineage of export"}
    assert (lfp[0].frontend, lfp[0].decoder, lfp[0].made_from) == ("model frontend.onnx", "model decoder.onnx", made_from)
    assert (spike[0].frontend, spike[0].decoder) == (None, "model spike_decoder.onnx")
    assert (lfp[1], spike[1]) == (LFP, SPIKE) and lfp[2] is spike[2] is decoded and lfp[3] is SETTINGS
    assert [(str(model), name) for model, name in found.calls["saved"] if isinstance(model, str)] == [
        ("int8 decoder of lfp", "decoder.int8.onnx"),
        ("int8 front end of lfp", "frontend.int8.onnx"),
        ("int8 decoder of spike", "spike_decoder.int8.onnx"),
    ]
    assert [(model.name, name) for model, name in found.calls["saved"] if not isinstance(model, str)] == [
        ("lfp", "lfp.npz"),
        ("spike", "spike.npz"),
    ]
    assert found.run.required == ["export"]


def test_a_stream_is_checked_and_scored_with_its_own_graphs_and_wiener_filter(quantised):
    found, decoded = quantised
    for at, name in enumerate(("lfp", "spike")):
        frontend, decoder = (f"int8 front end of {name}" if name == "lfp" else None), f"int8 decoder of {name}"
        (settings, stream, made_of, *graphs, _), _ = found.calls["golden"][at]
        assert (settings, stream.name, graphs) == (SETTINGS, name, [frontend, decoder]) and made_of is decoded
        (golden, *graphs), _ = found.calls["check"][at]
        assert (golden.name, graphs) == (name, [frontend, decoder])
        (golden, exact, integers, stream, made_of, settings, wiener), _ = found.calls["score"][at]
        assert (golden.name, exact, integers) == (name, f"model {'' if name == 'lfp' else 'spike_'}decoder.onnx", decoder)
        assert (stream.name, settings, wiener) == (name, SETTINGS, f"wiener of {name}") and made_of is decoded
        assert found.calls["warn"][at] == ((f"rows of {name}", scores_of(name)), {})


def test_the_summary_of_quantize(quantised):
    found, _ = quantised
    size = {"decoder_int8_bytes": 640, "decoder_constant_bytes": 640 + 514 + 33}
    assert jsonable(found.summary) == {
        name: {**jsonable(scores_of(name)), "reference_ticks_equal": ticks, **size, "warnings": [f"beware of the rows of {name}"]}
        for name, ticks in (("lfp", 111), ("spike", 222))
    }
    assert "  warning: spike: beware of the rows of spike" in found.said
    calibration = read_document(found.run.file("calibration.json"), "realm-edge calibration/2", dict, "")["streams"]
    assert {name: one["states"] for name, one in calibration.items()} == {"lfp": ["lfp"], "spike": ["spike"]}
    outputs, recorded = found.run.completed["quantize"]
    assert recorded == found.summary
    assert [path.name for path in outputs] == [
        *("decoder.int8.onnx", "frontend.int8.onnx", "lfp.npz", "spike_decoder.int8.onnx", "spike.npz", "calibration.json")
    ]


# --- compile ----------------------------------------------------------------------------------------------------------------------------


def compiled(stage: str, base: int) -> dict[str, Any]:
    return {
        "weight_bytes": base + 1,
        "state_bytes": base + 2,
        "scratch_bytes": base + 3,
        "constants": [{"symbol": f"{stage}.w", "bytes": base + 4}],
        "states": [{"name": f"{stage}.h", "shape": [2, 3], "dtype": "int32"}, {"name": f"{stage}.p", "shape": [5], "dtype": "int8"}],
        "scratch": [{"name": f"{stage}.t", "bytes": base + 5}],
        "kernels": [{"node": f"{stage}.k", "macs": base + 6}, {"node": f"{stage}.norm", "macs": 0}],
    }


def test_each_stream_is_compiled_from_its_own_graphs(tmp_path, monkeypatch):
    run, calls = a_run(tmp_path), []
    artefacts.int8_frontend(run, LFP).write_bytes(b"")  # the spike stream has none

    def write(folder, name, build, frontend, decoder, prefix):
        calls.append((folder.relative_to(tmp_path).as_posix(), name, build, frontend and frontend.name, decoder.name, prefix))
        base = 100 if name == "lfp" else 200
        folder.mkdir(parents=True)
        return loose(
            BundleMetadata, {"frontend": compiled("frontend", base + 50) if frontend else None, "decoder": compiled("decoder", base)}
        )

    monkeypatch.setattr(compile_stage, "write_bundle", write)
    summary = jsonable(compile_stage.run(run, Silent(), "stm32u575", "cortex-m33"))
    assert calls == [
        ("firmware/stm32u575/lfp", "lfp", "cortex-m33", "frontend.int8.onnx", "decoder.int8.onnx", "realm_lfp"),
        ("firmware/stm32u575/spike", "spike", "cortex-m33", None, "spike_decoder.int8.onnx", "realm_spike"),
    ]
    assert {name: list(one) for name, one in summary.items()} == {"lfp": ["frontend", "decoder"], "spike": ["decoder"]}
    assert summary["lfp"]["frontend"] == {
        "weight_bytes": 151,
        "state_bytes": 152,
        "scratch_bytes": 153,
        "bytes_by_tensor": {
            "constants": {"frontend.w": 154},
            "states": {"frontend.h": 24, "frontend.p": 5},
            "scratch": {"frontend.t": 155},
        },
        "macs_by_layer": {"frontend.k": 156},
    }
    assert summary["spike"]["decoder"]["weight_bytes"] == 201
    assert run.required == ["quantize"] and jsonable(run.completed["compile.stm32u575"][1]) == summary


# --- export -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_fault", "error"), [(None, 9e-6), ("lfp frontend_error", 1.1e-5), ("spike decoder_error", 1.1e-5)])
def test_every_graph_is_exported_from_its_own_student_and_held_against_it(tmp_path, monkeypatch, at_fault, error):
    run, graphs, saved, frontends = a_run(tmp_path), [], [], []
    decoded = session()
    monkeypatch.setattr(export, "load_sessions", lambda run: [session("day2", heldout=False), decoded])
    monkeypatch.setattr(export, "load_student", lambda path: f"student {path.name}")
    monkeypatch.setattr(export, "decoder_graph", returning(graphs, lambda student, *rest: f"graph of {student}"))
    monkeypatch.setattr(export, "save_model", lambda model, path: saved.append((model, path.name)))
    compared = []

    def decoder_error(decoder, student, inputs, progress):
        name = "spike" if "spike" in student else "lfp"
        compared.append((decoder, student))
        assert inputs is (decoded.counts if name == "spike" else decoded.features)
        return error if at_fault == f"{name} decoder_error" else 1e-6

    def frontend_of(stream, session, settings, made_from):
        frontends.append((stream, session, settings, made_from))
        return f"front end of {stream.name}", error if at_fault == f"{stream.name} frontend_error" else 2e-6

    monkeypatch.setattr(export, "decoder_error", decoder_error)
    monkeypatch.setattr(export, "frontend_of", frontend_of)
    if at_fault:
        with pytest.raises(UserError, match=f"{at_fault}: 1.1e-05 of the largest value"):
            export.run(run, Silent())
        return
    summary = jsonable(export.run(run, Silent()))
    assert summary == {name: {"frontend_error": 2e-6, "decoder_error": 1e-6} for name in ("lfp", "spike")}
    made_from = {"settings": SETTINGS.digest(), "train": "lineage of train"}
    about = (25.0, ("vx", "vy"), "cm/s", made_from)  # bins of 40 ms
    assert [args for args, _ in graphs] == [("student student.safetensors", *about), ("student student_spike.safetensors", *about)]
    assert compared == [
        (f"graph of {student}", student) for student in ("student student.safetensors", "student student_spike.safetensors")
    ]
    assert frontends == [(stream, decoded, SETTINGS, made_from) for stream in (LFP, SPIKE)]
    assert saved == [
        ("graph of student student.safetensors", "decoder.onnx"),
        ("front end of lfp", "frontend.onnx"),
        ("graph of student student_spike.safetensors", "spike_decoder.onnx"),
        ("front end of spike", "spike_frontend.onnx"),
    ]
    assert [path.name for path in run.completed["export"][0]] == [name for _, name in saved] and run.required == ["train"]


# --- verify -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [None, "lfp", "spike"])
def test_each_stream_is_verified_with_its_own_graphs_and_all_must_hold(tmp_path, monkeypatch, failing):
    run, subjects = a_run(tmp_path), []
    decoded = session(spike_source="units")
    scales = {"decoder.int8.onnx": [0.5, 0.25], "spike_decoder.int8.onnx": [2.0]}
    monkeypatch.setattr(verify, "load_sessions", lambda run: [session("day2", heldout=False), decoded])
    monkeypatch.setattr(verify, "load_tried", lambda path, kind: path.name)
    monkeypatch.setattr(verify, "metadata", lambda model: {"io": {"features": {"scale": scales[model]}}})

    def verified(subject, bins):
        subjects.append((subject, bins))
        return loose(VerifiedStream, {"ok": subject.name != failing, "reset": f"of {subject.name}"})

    monkeypatch.setattr(verify, "verify", verified)
    summary = jsonable(verify.run(run, Silent(), 77))
    assert summary["ok"] is (failing is None)
    assert summary == {
        **{"ok": failing is None, "synthetic": False, "bin_ms": 40},
        "streams": {name: {"ok": name != failing, "reset": f"of {name}"} for name in ("lfp", "spike")},
    }
    for (subject, bins), stream in zip(subjects, (LFP, SPIKE), strict=True):
        prefix = "" if stream is LFP else "spike_"
        frontend = "frontend.int8.onnx" if stream is LFP else None
        assert (subject.graphs.frontend, subject.graphs.decoder) == (frontend, f"{prefix}decoder.int8.onnx")
        assert (subject.float_decoder, bins) == (f"{prefix}decoder.onnx", 77)
        assert subject.recorded.stream is stream and subject.recorded.session is decoded
        assert subject.recorded.feature_scale.tolist() == scales[f"{prefix}decoder.int8.onnx"]
    assert run.required == ["quantize"] and read_document(run.file("verification.json"), "realm-edge verification/1", dict, "") == summary


# --- baselines --------------------------------------------------------------------------------------------------------------------------


def kernels(*macs: int):
    return tuple(SimpleNamespace(macs=each) for each in macs)


def firmware(base: float, bit_exact: bool) -> StreamResult:
    stage = SimpleNamespace(weight_bytes=71, state_bytes=72, scratch_bytes=73, kernels=kernels(10, 0, 7))
    regions = {"decoder": SimpleNamespace(cycles=Cycles(base, base - 1, base + 2)), "frontend": SimpleNamespace(cycles=Cycles(1, 1, 1))}
    return SimpleNamespace(bundle=SimpleNamespace(decoder=stage, frontend=None), regions=regions, bit_exact=bit_exact)


def test_a_row_of_the_baselines_says_what_float_and_int8_decode_and_what_each_target_takes(monkeypatch):
    decoded = session()
    true = decoded.targets
    one = replace(golden(0, True), first_bin=VALIDATION - 3, warm_up=3, features=np.full((13, 2), 4, np.int16))
    inside = slice(VALIDATION - 3, VALIDATION + 10)
    answers = {"float": true[inside] + 0.5, "int8": true[inside] - [0.25, 1.0]}  # in target units
    for answer in answers.values():
        answer[:3] += 1e3  # of the warm-up
    scale = [0.5, 0.25]
    seen: dict[str, Any] = {}
    monkeypatch.setattr(baselines, "metadata", lambda model: {"io": {"features": {"scale": scale}}})
    monkeypatch.setattr(
        baselines, "run_decoder", lambda model, features, starts: (seen.update(int8=(model, features, starts)), ("raw", {}))[1]
    )
    monkeypatch.setattr(baselines, "float_decoded", lambda model, read, starts: seen.update(float=(model, read, starts)) or "raw float")
    monkeypatch.setattr(baselines, "in_units", lambda decoded, model: answers["int8" if model == "integers" else "float"])
    results = {"rv32imc": firmware(900.0, True), "cortex-m4": firmware(500.0, False)}
    monkeypatch.setattr(baselines, "_simulated", lambda decoder, stream, golden, expected, target: results[target])
    row = jsonable(baselines._row(baselines._Graphs("exact", "integers"), LFP, one, decoded, list(results)))

    assert seen["int8"][0] == "integers" and seen["int8"][1] is one.features and seen["int8"][2] is one.starts
    assert seen["float"][0] == "exact" and seen["float"][1].tolist() == [[2.0, 1.0]] * 13 and seen["float"][2] is one.starts
    scored = true[VALIDATION : VALIDATION + 10].astype(np.float64)
    variance = scored.var(axis=0)
    assert row["r2_float"] == pytest.approx(np.mean(1 - 0.25 / variance), rel=1e-5)
    assert row["r2_int8"] == pytest.approx(np.mean(1 - np.array([0.0625, 1.0]) / variance), rel=1e-5)
    assert row["nrmse_int8_float"] == pytest.approx(np.sqrt(np.mean(np.array([0.75, 1.5]) ** 2 / variance)), rel=1e-5)
    assert (row["weight_bytes"], row["state_bytes"], row["scratch_bytes"], row["macs"]) == (71, 72, 73, 17)
    assert row["targets"] == {
        "rv32imc": {"bit_exact": True, "cycles": 900.0, "cycles_range": [899.0, 902.0]},
        "cortex-m4": {"bit_exact": False, "cycles": 500.0, "cycles_range": [499.0, 502.0]},
    }


def test_baselines_are_calibrated_on_the_training_part_alone(tmp_path, monkeypatch):
    """What calibration gets to see, with the validation and test part changed."""

    def seen(decoded: Session) -> list[np.ndarray]:
        run, found = a_run(tmp_path), []
        artefacts.student(run, SPIKE).unlink()

        def observe(graph, training, warm_up, progress, starts):
            found.extend([training, np.asarray(starts)])
            return "observed"

        monkeypatch.setattr(baselines, "load_sessions", lambda run: [session("day2", heldout=False), decoded])
        monkeypatch.setattr(baselines, "load_tried", lambda path, kind: path.name)
        monkeypatch.setattr(baselines, "metadata", lambda model: {"io": {"features": {"scale": [0.5] * 6}}, "made_from": {}})
        monkeypatch.setattr(baselines, "_fitted", lambda *args: [("wiener", "graph")])
        monkeypatch.setattr(baselines, "observe", observe)
        monkeypatch.setattr(baselines, "quantize_decoder", lambda *args: "integers")
        monkeypatch.setattr(baselines, "save_model", lambda *args: None)
        monkeypatch.setattr(Golden, "load", staticmethod(lambda path: "golden"))
        monkeypatch.setattr(baselines, "_row", lambda *args: loose(ComparedDecoder, {}))
        baselines.run(run, Silent(), ["rv32imc"])
        return found

    plain = session(starts=np.array([0, 20, 70]))
    features = plain.features.copy()
    features[TRAIN:] += 100
    assert len(seen(plain)[0]) == TRAIN and seen(plain)[1].tolist() == [0, 20]
    for before, after in zip(seen(plain), seen(replace(plain, features=features)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_wiener_filter_and_the_gru_among_the_baselines_learn_from_the_training_part_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "load_student", lambda path: None)
    monkeypatch.setattr(baselines.cost, "parameters", lambda student: 60)
    settings = SETTINGS.model_copy(update={"finetune": SETTINGS.finetune.model_copy(update={"epochs": 1}), "window_bins": 26})

    def fitted(decoded: Session, folder: str) -> list[bytes]:
        run = MadeUpRun(tmp_path / folder, settings)
        run.file("baselines", "x")
        material = baselines.gather([decoded], decoded, "features", 0.04)
        return [graph.SerializeToString() for _, graph in baselines._fitted(run, LFP, decoded, material, Silent())]

    plain = session()
    spoiled = replace(plain, features=plain.features.copy(), targets=plain.targets.copy())
    spoiled.features[VALIDATION:] += 100
    spoiled.targets[VALIDATION:] *= -7
    assert fitted(plain, "plain") == fitted(spoiled, "spoiled")


def test_baselines_graphs_answer_in_target_units(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "load_student", lambda path: None)
    monkeypatch.setattr(baselines.cost, "parameters", lambda student: 60)
    monkeypatch.setattr(baselines.sequence, "train", lambda *args: None)
    decoded = session()
    run = MadeUpRun(tmp_path, SETTINGS)
    material = baselines.gather([decoded], decoded, "features", 0.04)
    known = decoded.targets[:TRAIN].astype(np.float64)
    for name, graph in baselines._fitted(run, LFP, decoded, material, Silent()):
        about = metadata(graph)
        np.testing.assert_allclose(about["io"]["decoded"]["offset"], known.mean(axis=0), rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(about["io"]["decoded"]["scale"], known.std(axis=0), rtol=1e-5, err_msg=name)
        assert about["rate_hz"] == 25.0 and about["made_from"] == {"settings": SETTINGS.digest(), "data": "lineage of data"}


# --- report -----------------------------------------------------------------------------------------------------------------------------


def test_the_report_draws_what_its_facts_say_and_asks_for_its_targets(tmp_path, monkeypatch):
    run = a_run(tmp_path)
    asked: dict[str, Any] = {}
    run.request = lambda stage, request: asked.update({stage: request})
    simulations = {"rv32imc": "first", "cortex-m4": "second"}
    facts = {
        "ok": False,
        "verdicts": {"rv32imc": {"ok": False, "reasons": ["no"]}},
        "mac_rule": "rule",
        "what": {"target_names": ["vx"], "target_unit": "cm/s"},
        "targets": simulations,
        "accuracy": {"scored": "scores", "decoders": "others"},
        "verification": "verified",
    }
    monkeypatch.setattr(report_stage, "gather", lambda run, targets: asked.update(gathered=list(targets)) or loose(Facts, facts))
    monkeypatch.setattr(report_stage, "report_request", lambda run, targets: {"targets": list(targets)})
    monkeypatch.setattr(report_stage, "load_traces", lambda run: "traces")
    for name in ("traces", "accuracy", "power", "bandwidth", "cycles", "memory"):
        monkeypatch.setattr(report_stage.plots, name, lambda *args, name=name: (name, *args))
    monkeypatch.setattr(report_stage, "endurance_svg", lambda verification: ("endurance", verification))
    rendered: dict[str, Any] = {}
    monkeypatch.setattr(report_stage, "_render", lambda facts, drawn: rendered.update(facts=facts, drawn=drawn) or "page")
    summary = report_stage.run(run, Silent(), ["rv32imc", "cortex-m4"])
    assert rendered["drawn"] == {
        "traces": ("traces", "traces", ("vx",), "cm/s"),
        "accuracy": ("accuracy", "scores"),
        "power": ("power", simulations),
        "bandwidth": ("bandwidth", "first"),
        "cycles": ("cycles", simulations),
        "memory": ("memory", simulations),
        "endurance": ("endurance", "verified"),
    }
    assert jsonable(summary) == {"ok": False, "verdicts": facts["verdicts"]}
    assert run.completed["report"] == ([tmp_path / "report.html", tmp_path / "report.json"], summary)
    assert asked == {"gathered": ["rv32imc", "cortex-m4"], "report": {"targets": ["rv32imc", "cortex-m4"]}}
    assert run.file("report.html").read_text() == "page"
    assert read_document(run.file("report.json"), "realm-edge report/3", dict, "") == facts == jsonable(rendered["facts"])
