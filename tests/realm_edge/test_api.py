"""``import realm_edge`` offers the chain to notebooks: quickly, typed, on the run directories of the command line."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import realm_edge
from firmware_sim.targets import get_target
from realm_edge.app import api, rundir, summaries
from realm_edge.app.cli import main
from realm_edge.app.rundir import RunDir
from realm_edge.documents import jsonable
from realm_edge.errors import UserError
from realm_edge.files import write_text
from tests.feature_file import feature_file
from tests.loose import loose

ROOT = Path(__file__).parents[2]
FUNCTIONS = ("compile", "load", "quantize", "report", "simulate", "train")
STREAM = {
    **{"bit_exact": True, "steps": 550, "cycles_per_step": 57_042.0, "cycles_per_step_range": [50_000.0, 60_000.0], "flash_bytes": 26_160},
    **{
        "ram_bytes": 9_944,
        "fit_text": "fits: 2.87 of 100 MHz",
        "power_uw": {"total": 262.2},
        "power_uw_range": [200.0, 300.0],
        "latency_ms": {"total": 20.7},
    },
    "r2": {"float": 0.92, "int8": 0.91},
}
BUDGET = {"name": "r2", "state": "broken", "lever": "train longer"}
SUMMARIES = {
    "data": {},
    "train": {"synthetic": False, "decoders": {"lfp_student": {"r2": 0.92}, "lfp_wiener": {"r2": 0.94}}},
    "export": {},
    "quantize": {"lfp": {"r2": {"float": 0.92, "int8": 0.91, "wiener": 0.94}, "nrmse_int8_float": 0.006}},
    "compile": {"lfp": {"frontend": {"weight_bytes": 100}, "decoder": {"weight_bytes": 900}}},
    "simulate": {
        **{"target": "rv32imc", "part": "generic Ibex SoC", "ok": False, "synthetic": False},
        **{
            "streams": {"lfp": STREAM},
            "budgets": [
                BUDGET,
                BUDGET | {"name": "power_uw", "state": "holds"},
                BUDGET | {"name": "latency_ms", "state": "holds only nominally"},
            ],
        },
    },
    "report": {"ok": False, "verdicts": {"rv32imc": {"ok": False, "reasons": ["r2 breaks its budget: train longer"]}}},
}


@pytest.fixture
def performed(monkeypatch) -> list[str]:
    """Stages that do nothing but leave a record; the list says which were performed."""
    done: list[str] = []

    def stage_of(verb):
        def perform(run, progress, *arguments):
            stage = f"{verb}.{arguments[0]}" if verb in ("compile", "simulate") else verb
            done.append(stage)
            output = run.file("simulation", f"{stage}.txt")
            write_text(output, stage)
            summary = loose(summaries.SUMMARIES[verb], SUMMARIES[verb])
            run.complete(stage, [output], summary)
            return summary

        return perform

    monkeypatch.setattr(api, "stage_of", stage_of)
    monkeypatch.setattr(rundir, "formed", lambda kind, content, *_: loose(kind, content))
    monkeypatch.setattr(api, "find_emulator", lambda target: type("Emulator", (), {"remark": f"untested QEMU for {target.name}"}))
    return done


@pytest.fixture
def monday(tmp_path) -> Path:
    path = tmp_path / "monday.npz"
    lfp = np.random.default_rng(0).integers(-500, 500, (5000, 3), dtype=np.int16)
    np.savez(path, lfp=lfp, lfp_rate=500.0, lfp_scale=1e-7, behavior=np.sin(np.arange(500) / 20), behavior_rate=50.0)
    return path


CHANGES = {"lfp": {"rate_hz": 500, "bands_hz": [[10, 20]]}}


def test_importing_the_package_loads_nothing_above_it():
    code = "import sys, realm_edge; print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'export', 'tvm'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_functions_are_there_and_others_are_not():
    assert set(FUNCTIONS) < set(dir(realm_edge)) and {*FUNCTIONS, "__version__"} == set(realm_edge.__all__)
    for name in FUNCTIONS:
        assert getattr(realm_edge, name) is getattr(api, name)
        assert "Raises:" in getattr(api, name).__doc__
    with pytest.raises(AttributeError, match="'realm_edge' has no attribute 'paint'"):
        realm_edge.paint  # noqa: B018


@pytest.mark.parametrize("package", ["realm_edge", "export", "quantization", "firmware_sim"])
def test_packages_say_that_they_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def test_ten_lines_from_a_file_to_figures(performed, monday, tmp_path, capsys):
    loaded = realm_edge.load(monday)
    assert "3 channel(s), 500 Hz" in str(loaded)
    trained = realm_edge.train(loaded, tmp_path / "run", changes=CHANGES)
    assert (trained.run, trained.r2, trained.synthetic) == (tmp_path / "run", {"lfp_student": 0.92, "lfp_wiener": 0.94}, False)
    assert jsonable(trained.metrics) == SUMMARIES["train"]
    int8 = realm_edge.quantize(trained.run)
    assert (int8.r2_float, int8.r2_int8, int8.nrmse_int8_float) == ({"lfp": 0.92}, {"lfp": 0.91}, {"lfp": 0.006})
    assert int8.decoders == {"lfp": trained.run / "decoder.int8.onnx"}
    firmware = realm_edge.compile(trained.run, "rv32imc")
    assert firmware.bundles == {"lfp": trained.run / "firmware" / "rv32imc" / "lfp"} and firmware.weight_bytes == {"lfp": 1000}
    simulated = realm_edge.simulate(trained.run, "rv32imc")
    assert (simulated.ok, simulated.broken, simulated.only_nominally) == (False, ("r2",), ("latency_ms",))
    assert simulated.spike is None and simulated.lfp.power_range == (200.0, 300.0)
    assert (simulated.lfp.cycles_range, simulated.lfp.power_uw, simulated.lfp.r2_int8) == ((50_000.0, 60_000.0), 262.2, 0.91)
    report = realm_edge.report(trained.run)
    assert (report.page, report.ok) == (trained.run / "report.html", False)
    assert report.reasons == {"rv32imc": ("r2 breaks its budget: train longer",)}
    assert performed == ["data", "train", "export", "quantize", "compile.rv32imc", "simulate.rv32imc", "report"]
    said = capsys.readouterr()
    assert said.out == "" and "[train]" in said.err and "untested QEMU for rv32imc" in said.err

    realm_edge.train(loaded, tmp_path / "run", changes=CHANGES)
    realm_edge.quantize(trained.run)
    realm_edge.compile(trained.run, "rv32imc")
    realm_edge.simulate(trained.run, "rv32imc")
    realm_edge.report(trained.run)
    assert len(performed) == 7
    assert "[report] complete, skipped" in capsys.readouterr().err


def test_the_command_line_goes_on_with_what_was_begun_here(performed, monday, tmp_path):
    trained = realm_edge.train(realm_edge.load(monday, behavior="behavior"), tmp_path / "run", changes=CHANGES)
    assert RunDir.open(trained.run).remembered("data") == ["--data", str(monday), "--behavior", "behavior"]
    realm_edge.quantize(trained.run)
    realm_edge.compile(trained.run, "rv32imc")
    limits = tmp_path / "limits.toml"
    limits.write_text('[flash_bytes]\nlimit = 1e6\nsource = "test"\n')
    realm_edge.simulate(trained.run, "rv32imc", limits)
    assert RunDir.open(trained.run).remembered("simulate.rv32imc") == ["--budget", str(limits)]
    realm_edge.simulate(trained.run, "rv32imc")
    assert performed.count("simulate.rv32imc") == 2  # against other limits


def test_changes_begin_from_a_preset_and_a_run_is_of_one_kind(performed, tmp_path):
    loaded = realm_edge.load()
    assert str(loaded) == "synthetic recordings: no evidence about brains"
    trained = realm_edge.train(loaded, tmp_path / "run", preset="implant-s", changes={"seed": 3})
    settings = RunDir.open(trained.run).settings
    assert (settings.preset, settings.seed) == ("implant-s", 3)
    with pytest.raises(UserError, match="the run was made with other settings"):
        realm_edge.train(loaded, tmp_path / "run", preset="demo")
    realm_edge.train(loaded, tmp_path / "run", preset="demo", fresh=True)
    assert RunDir.open(trained.run).settings.preset == "demo"


def test_recordings_are_not_swapped_silently(performed, monday, tmp_path):
    realm_edge.train(realm_edge.load(monday), tmp_path / "run", changes=CHANGES)
    with pytest.raises(UserError, match=r"this run was made from monday\.npz"):
        realm_edge.train(realm_edge.load(), tmp_path / "run")


def test_recordings_of_features(performed, tmp_path):
    path = feature_file(tmp_path / "grip.nwb")
    loaded = realm_edge.load(path, features="power", behavior="force")
    assert str(loaded) == f"{path}\nfeatures   power"
    realm_edge.train(loaded, tmp_path / "run")
    assert performed == ["data", "train"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda folder: realm_edge.load(folder / "missing.npz"), "missing.npz"),
        (lambda folder: realm_edge.load(behavior="velocity"), "--behavior velocity: the synthetic recordings have one of each"),
        (lambda folder: realm_edge.train(realm_edge.load(), folder / "r", preset="huge"), "unknown preset 'huge': use one of demo"),
        (lambda folder: realm_edge.train(realm_edge.load(), folder / "r", changes={"seed": -1}), "changes: seed: .*greater.* (value -1)"),
        (lambda folder: realm_edge.train(realm_edge.load(), folder / "r", device="gpu"), "train: device='gpu': Input should be 'auto', "),
        (lambda folder: realm_edge.train(realm_edge.load(), folder / "r", precision="64"), "train: precision='64': Input should be '32', "),
        (lambda folder: realm_edge.train("monday.npz", folder / "r"), "train: loaded='monday.npz': Input should be .*Loaded"),
        (lambda folder: realm_edge.load("a.npz", ["b.npz"]), "load: files=.'b.npz'.: Input should be a valid string"),
        (lambda folder: realm_edge.load("a.npz", channels=[0, 1]), "load: channels=.0, 1.: Input should be a valid string"),
        (lambda folder: realm_edge.compile(folder, ["rv32imc"]), "compile: target=.'rv32imc'.: Input should be a valid string"),
        (lambda folder: realm_edge.quantize(folder / "none"), "none: not a run directory .*: make one with 'realm-edge data"),
        (lambda folder: realm_edge.compile(folder / "none", "z80"), "unknown target 'z80'"),
        (lambda folder: realm_edge.simulate(folder / "none", "rv32imc", folder / "limits.toml"), "limits.toml"),
    ],
)
def test_what_a_user_can_mend_is_told(performed, tmp_path, call, said):
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")):
        call(tmp_path)


def test_a_call_without_an_argument_is_pythons_own_error(performed):
    with pytest.raises(TypeError, match="missing a required argument: 'run'"):
        realm_edge.quantize()


def test_where_training_would_have_no_gpu_nothing_is_read(performed, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="--device cuda"):
        realm_edge.train(realm_edge.load(), tmp_path / "run", device="cuda")
    assert performed == []


def test_a_report_needs_a_simulation(performed, tmp_path):
    trained = realm_edge.train(realm_edge.load(), tmp_path / "run")
    with pytest.raises(UserError, match="nothing was simulated: call simulate first"):
        realm_edge.report(trained.run)


def _notebook() -> list[str]:
    cells = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text())["cells"]
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in cells)
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_calls_what_there_is(performed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for source in _notebook():
        exec(source, names)
    assert len(performed) == 7
    own = [line for source in _notebook()[1:] for line in source.splitlines() if "=" in line or "(" in line or "import" in line]
    assert len(own) <= 10  # beside the names alone that show results


def test_the_readme_calls_what_there_is(performed, tmp_path, monkeypatch):
    [source] = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.S | re.M)
    monkeypatch.chdir(tmp_path)
    here, called = inspect.signature(api.load), realm_edge.load
    monkeypatch.setattr(api, "load", lambda *given, **named: here.bind(*given, **named) and called())  # there is no monday.nwb
    exec(source, {})
    assert len(performed) == 7


@pytest.mark.slow
def test_the_notebook_runs_to_a_report(tmp_path, monkeypatch):
    try:
        api.find_emulator(get_target("rv32imc"))
    except UserError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for source in _notebook():
        exec(source, names)
    simulated, report = names["simulated"], names["report"]
    assert simulated.lfp.bit_exact and simulated.lfp.cycles_per_step > 0 and simulated.spike is None
    assert names["trained"].r2["lfp_student"] > 0.5
    assert names["int8"].decoders["lfp"].is_file() and "<html" in report.page.read_text()
    again = CliRunner().invoke(main, ["simulate", "--target", "rv32imc", "--out", str(names["trained"].run), "--json"])
    assert json.loads(again.stdout)["targets"]["rv32imc"] == jsonable(simulated.summary)
