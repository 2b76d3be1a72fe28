"""The command line: one-line errors with status 2, resuming, budgets and Ctrl-C. Stages are replaced by ones that write a file."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from firmware_sim import emulator
from realm_edge.app import cli, rundir
from realm_edge.app import stages as stages_module
from realm_edge.app.rundir import PER_TARGET, RunDir
from realm_edge.app.summaries import Simulation, Verification
from realm_edge.files import write_text
from realm_edge.readers.choices import Choices
from realm_edge.sources import Recordings
from tests.loose import loose
from tests.nwb_file import electrical_series, electrodes, new_file, write
from tests.stored_recording import written

TARGETS = ("cortex-m4", "stm32u385", "rv32imc")


def _invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def _recording(name: str) -> None:
    np.savez(name, lfp=np.zeros((9, 2), np.int16), lfp_rate=1000.0)


def _one_line_error(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("realm-edge: error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "_Stages":
    """Replaces every stage by one that notes its call and writes a file, and QEMU; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    fake = _Stages()
    monkeypatch.setattr(emulator, "find_emulator", lambda target: emulator.Emulator("qemu", "7.2.22", 1))
    monkeypatch.setattr(stages_module, "stage_of", fake.stage)
    monkeypatch.setattr(rundir, "formed", lambda kind, content, *_: content if "made" in content else loose(kind, content))
    return fake


class _Stages:
    real_find_emulator = staticmethod(emulator.find_emulator)

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.arguments: dict[str, tuple[Any, ...]] = {}
        self.state = "holds"
        self.interrupt_at: str | None = None

    def stage(self, verb: str) -> Callable[..., Any]:
        def run(run: RunDir, progress: object, *arguments: Any) -> Any:
            stage = f"{verb}.{arguments[0]}" if verb in PER_TARGET else verb
            self.calls.append(stage)
            self.arguments[stage] = arguments
            if stage == self.interrupt_at:
                raise KeyboardInterrupt
            output = run.file("simulation", stage)
            write_text(output, stage)
            summary: Any = {"made": stage} if verb != "simulate" else self._simulation()
            run.complete(stage, [output], summary)
            return summary

        return run

    def _simulation(self) -> Simulation:
        lever = "" if self.state == "holds" else "fewer cycles"
        row = {"name": "power_uw", "limit": 10.0, "value": 9.5, "unit": "uW", "state": self.state, "ok": not lever, "lever": lever}
        stream = {"steps": 1200, "cycles_per_step": 5e4, "fit_text": "fits: 3 of 120 MHz", "bit_exact": True, "frontend": "run"}
        stream["code_runs_from"] = "flash"
        stream |= {"cycles_per_step_range": [4e4, 6e4], "core": {"label": "table-based"}}
        ok = {"ok": self.state == "holds", "ok_nominally": self.state != "broken"}
        return loose(Simulation, ok | {"comparisons": [], "streams": {"lfp": stream}, "budgets": [row]})


MINE = '[mcu.stm32l4r5.sleep]\nvalue = 9\nlow = 5.0\nhigh = 20.0\nunit = "uW"\ncondition = "bench"\nsource = "us"\nconfidence = "primary"\n'
ALL = ["data", "train", "export", "quantize", *(f"{verb}.{target}" for verb in ("compile", "simulate") for target in TARGETS), "report"]


def test_run_performs_every_stage_once_and_resumes(stages: _Stages) -> None:
    first = _invoke("run")
    assert first.exit_code == 0, first.output
    assert stages.calls == ALL
    assert "report: runs/demo/report.html" in first.stdout
    again = _invoke("run")
    assert again.exit_code == 0
    assert stages.calls == ALL
    assert again.stderr.count("complete, skipped") == len(ALL)


def test_run_redoes_what_depends_on_a_changed_file(stages: _Stages) -> None:
    _invoke("run")
    Path("runs/demo/simulation/quantize").write_text("tampered")
    stages.calls.clear()
    assert _invoke("run").exit_code == 0
    assert stages.calls == ["quantize"]  # it gives the same bytes again, so what was made from them still holds


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(stages: _Stages) -> None:
    stages.interrupt_at = "export"
    result = _invoke("run")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].startswith("realm-edge: interrupted")
    assert "Traceback" not in result.stderr
    stages.interrupt_at = None
    stages.calls.clear()
    assert _invoke("run").exit_code == 0
    assert stages.calls == ALL[2:]


def test_a_broken_budget_is_status_1_after_the_report(stages: _Stages) -> None:
    stages.state = "broken"
    result = _invoke("run", "--target", "cortex-m4")
    assert result.exit_code == 1
    assert stages.calls[-1] == "report"
    assert "power_uw" in result.stdout and "BROKEN: fewer cycles" in result.stdout
    assert _invoke("run", "--target", "cortex-m4").exit_code == 1  # also when everything is skipped
    assert _invoke("simulate", "--target", "cortex-m4").exit_code == 1


@pytest.mark.parametrize("command", ["run", "simulate"])
def test_a_budget_that_holds_only_nominally_is_status_1_unless_that_is_enough(stages: _Stages, command: str) -> None:
    stages.state = "holds only nominally"
    assert _invoke("run", "--target", "cortex-m4").exit_code == 1
    result = _invoke(command, "--target", "cortex-m4")
    assert result.exit_code == 1 and "ONLY NOMINALLY: fewer cycles" in result.stdout
    assert _invoke(command, "--target", "cortex-m4", "--nominal").exit_code == 0
    stages.state = "broken"
    assert _invoke("simulate", "--target", "cortex-m4", "--nominal").exit_code == 1


def test_other_figures_simulate_again_and_are_named_in_the_command(stages: _Stages) -> None:
    _invoke("run", "--target", "cortex-m4")
    Path("mine.toml").write_text(MINE)
    stages.calls.clear()
    assert _invoke("run", "--target", "cortex-m4", "--components", "mine.toml").exit_code == 0
    assert stages.calls[0] == "simulate.cortex-m4"
    assert stages.arguments["simulate.cortex-m4"] == ("cortex-m4", None, Path("mine.toml"))
    stages.calls.clear()
    assert _invoke("run", "--target", "cortex-m4", "--components", "mine.toml").exit_code == 0
    assert stages.calls == []
    Path("mine.toml").write_text(MINE.replace("20.0", "21.0"))
    assert _invoke("run", "--target", "cortex-m4", "--components", "mine.toml").exit_code == 0
    assert stages.calls[0] == "simulate.cortex-m4"
    Path("mine.toml").write_text(MINE.replace("low = 5.0", "low = 50.0"))
    assert "mine.toml: 'mcu.stm32l4r5.sleep' has value 9" in _one_line_error(_invoke("simulate", "--components", "mine.toml"))


def test_the_figures_are_listed_filtered_converted_and_checked(stages: _Stages) -> None:
    lines = _invoke("components").stdout.splitlines()
    assert any(line.startswith("mcu.stm32l4r5.active: 278 (274 to 281) pJ/cycle; primary: MLPerf Tiny v1.3") for line in lines)
    radio = json.loads(_invoke("components", "--filter", "NRF52840", "--unit", "mW", "--json").stdout)
    kinds = ("idle", "processor", "receive", "transmit")
    assert [each["name"] for each in radio] == [f"radio.nrf52840.{kind}" for kind in kinds]
    [idle] = [each for each in radio if each["name"] == "radio.nrf52840.idle"]
    assert (idle["value"], idle["unit"]) == (pytest.approx(0.0045), "mW")
    Path("mine.toml").write_text(MINE)
    assert _invoke("components", "--check", "mine.toml").stdout.startswith("mcu.stm32l4r5.sleep: 9 (5 to 20) uW; primary: us")
    Path("mine.toml").write_text(MINE.replace('"uW"', '"uJ"'))
    assert "mine.toml: 'mcu.stm32l4r5.sleep': a figure in 'uJ', where 'uW'" in _one_line_error(
        _invoke("components", "--check", "mine.toml")
    )
    assert "--unit furlong" in _one_line_error(_invoke("components", "--unit", "furlong"))


def test_another_budget_simulates_again(stages: _Stages) -> None:
    _invoke("run", "--target", "cortex-m4")
    Path("limits.toml").write_text('[power_uw]\nlimit = 1\nsource = "x"')
    stages.calls.clear()
    assert _invoke("run", "--target", "cortex-m4", "--budget", "limits.toml").exit_code == 0
    assert stages.calls[0] == "simulate.cortex-m4"
    assert stages.arguments["simulate.cortex-m4"] == ("cortex-m4", Path("limits.toml"), None)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--channels", "0-1"], "--channels 0-1: the synthetic recordings have one of each"),
        (["--sync-offset", "2"], "--sync-offset 2: it shifts --behavior-file or --units-file: give one of them"),
        (
            ["--data", "monday.npz", "--data", "tuesday.npz", "--behavior-file", "hand.csv"],
            "--behavior-file: given 1 times for 2 recording(s): give it once for each",
        ),
        (["--data", "monday.npz", "--lfp", "probe"], "monday.npz: --lfp probe: no such series: use --lfp with one of: lfp"),
    ],
)
def test_choices_that_go_ill_together(stages: _Stages, options: list[str], text: str) -> None:
    for name in ("monday.npz", "tuesday.npz"):
        _recording(name)
    Path("hand.csv").write_text("time,hand\n0,1\n1,2\n")
    assert text in _one_line_error(_invoke("run", *options))
    assert stages.calls == [] and not Path("runs").exists()


@pytest.mark.parametrize("command", ["run", "train"])
def test_device_and_precision_reach_training(stages: _Stages, command: str) -> None:
    assert _invoke("run").exit_code == 0
    assert stages.arguments["train"] == ("auto", "32")
    assert _invoke("data", *(["--fresh"] if command == "run" else [])).exit_code == 0
    assert _invoke(command, "--device", "cpu", "--precision", "bf16-mixed").exit_code == 0
    assert stages.arguments["train"] == ("cpu", "bf16-mixed")
    assert _invoke(command, "--device", "tpu").exit_code == 2


def test_torchrun_is_for_training_and_its_first_process_speaks(stages: _Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _invoke("run").exit_code == 0
    monkeypatch.setenv("WORLD_SIZE", "2")  # some batch systems set this one for single processes too
    assert _invoke("export").exit_code == 0
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", "1")
    refused = _invoke("export")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines() == [
        "realm-edge: error: torchrun started 2 processes of 'export': only 'train' can use more than one"
    ]
    second = _invoke("train")
    assert (second.exit_code, second.stdout, second.stderr) == (0, "", "")
    monkeypatch.setenv("RANK", "0")
    assert _invoke("train", "--json").stdout


def test_json_is_all_that_goes_to_stdout(stages: _Stages) -> None:
    result = json.loads(_invoke("run", "--json").stdout)
    assert result["ok"] and list(result["targets"]) == list(TARGETS)
    assert json.loads(_invoke("train", "--json").stdout) == {"made": "train"}
    assert json.loads(_invoke("compile", "--target", "rv32imc", "--json").stdout) == {"targets": {"rv32imc": {"made": "compile.rv32imc"}}}


def test_a_prefix_reaches_the_compile_stage_and_another_one_compiles_anew(stages: _Stages) -> None:
    out = ("--target", "rv32imc", "--out", "runs/demo")
    assert _invoke("run", *out, "--prefix", "acme").exit_code == 0
    assert stages.arguments["compile.rv32imc"] == ("rv32imc", "rv32imc", "acme")
    stages.calls.clear()
    assert _invoke("run", *out, "--prefix", "acme").exit_code == 0
    assert stages.calls == []
    assert _invoke("compile", *out, "--prefix", "zenith").exit_code == 0
    assert stages.arguments["compile.rv32imc"][-1] == "zenith" and stages.calls == ["compile.rv32imc"]
    assert _invoke("compile", *out).exit_code == 0
    assert stages.arguments["compile.rv32imc"][-1] is None
    stages.calls.clear()
    for command in ("run", "compile"):
        refused = _invoke(command, *out, "--prefix", "2fast")
        assert (refused.exit_code, stages.calls) == (2, [])
        assert refused.stderr.splitlines() == [
            "realm-edge: error: prefix '2fast' is not a lower-case C identifier of at most 40 characters; take one such as 'acme'"
        ]


def test_recordings_reach_the_data_stage_and_name_the_run(stages: _Stages) -> None:
    for name in ("monday.npz", "tuesday.npz"):
        _recording(name)
    assert _invoke("run", "--data", "monday.npz", "--data", "tuesday.npz", "--behavior", "speed", "--channels", "0-1").exit_code == 0
    files = (Path("monday.npz"), Path("tuesday.npz"))
    assert stages.arguments["data"] == (Recordings(files, Choices(("speed",), channels=("0-1",))),)
    assert Path("runs/monday/report.html").parent.is_dir()
    assert RunDir.open(Path("runs/monday")).is_complete("report")
    assert _invoke("run", "--out", "runs/monday").exit_code == 0  # keeps the recordings of the run


def test_another_lfp_series_is_another_run(stages: _Stages) -> None:
    file = new_file()
    on = electrodes(file, 2)
    for name in ("probe_a", "probe_b"):
        file.add_acquisition(electrical_series(name, np.zeros((9, 2), np.int16), on, rate=1000.0))
    write(Path("monday.nwb"), file)
    assert _invoke("run", "--data", "monday.nwb", "--lfp", "probe_b").exit_code == 0
    assert stages.arguments["data"] == (Recordings((Path("monday.nwb"),), Choices(lfp=("probe_b",))),)
    stages.calls.clear()
    assert _invoke("run", "--data", "monday.nwb", "--lfp", "probe_b").exit_code == 0
    assert stages.calls == []
    assert "--fresh" in _one_line_error(_invoke("data", "--data", "monday.nwb", "--lfp", "probe_a", "--out", "runs/monday"))


def test_other_recordings_or_settings_do_not_mix_with_a_run(stages: _Stages) -> None:
    _recording("monday.npz")
    Path("other.toml").write_text("seed = 5")
    _invoke("run", "--out", "here")
    error = _one_line_error(_invoke("run", "--data", "monday.npz", "--out", "here"))
    assert "here: this run was made from the synthetic recordings" in error and "--fresh" in error
    assert "made with other settings" in _one_line_error(_invoke("run", "--config", "other.toml", "--out", "here"))
    assert _invoke("run", "--config", "other.toml", "--out", "here", "--fresh").exit_code == 0
    assert RunDir.open(Path("here")).settings.seed == 5


def test_stages_default_to_the_targets_of_the_run(stages: _Stages) -> None:
    _invoke("run", "--target", "rv32imc", "--out", "here")
    stages.calls.clear()
    assert _invoke("simulate", "--out", "here").exit_code == 0
    assert _invoke("report", "--out", "here").exit_code == 0
    assert stages.calls == ["simulate.rv32imc", "report"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "--data", "none.nwb"], "none.nwb: no such file"),
        (
            ["run", "--preset", "huge"],
            "unknown preset 'huge': use one of demo, implant-l, implant-m, implant-s, implant-s-realm, realm, realm-s",
        ),
        (["run", "--target", "z80"], "unknown target 'z80': use one of cortex-m4, rv32imc"),
        (["run", "--config", "none.toml"], "none.toml: no such file"),
        (["run", "--config", "broken.toml"], "broken.toml: not readable as TOML"),
        (["run", "--config", "unknown.toml"], "unknown.toml: colour"),
        (["run", "--config", "range.toml"], "range.toml: bin_ms"),
        (["run", "--budget", "none.toml"], "none.toml: no such file"),
        (["run", "--out", "broken.toml"], "broken.toml: not a run directory"),
        (["train", "--out", "none"], "none: not a run directory (no config.toml): make one with 'realm-edge data --out none'"),
    ],
)
def test_wrong_input_is_one_line_with_status_2(stages: _Stages, arguments: list[str], text: str) -> None:
    Path("broken.toml").write_text("seed = = 1")
    Path("unknown.toml").write_text("colour = 1")
    Path("range.toml").write_text("bin_ms = -3")
    assert text in _one_line_error(_invoke(*arguments))
    assert stages.calls == []
    assert not Path("runs").exists()


def test_names_are_told_as_they_are_and_stay_on_their_line(tmp_path: Path) -> None:
    """Two blanks are two, and what cannot be printed is escaped, in errors and in what is told of what was done."""
    for name in ("two  blanks.npz", "a\nline.npz", "a\x1b[31mred.npz"):
        told = CliRunner().invoke(cli.main, ["report", "--out", str(tmp_path / name)])
        shown = name.replace("\n", "\\n").replace("\x1b", "\\x1b")
        assert told.exit_code == 2 and f"/{shown}: not a run directory" in told.stderr and told.stderr.count("\n") == 1


def test_a_converted_recording_is_named_as_it_can_be_printed(tmp_path: Path) -> None:
    written(tmp_path / "a.realm")
    out = tmp_path / "b\x1b[31m\n.realm"
    told = CliRunner().invoke(cli.main, ["data", "convert", str(tmp_path / "a.realm"), str(out)])
    assert told.exit_code == 0 and told.stdout.splitlines()[0] == f"wrote {tmp_path}/b\\x1b[31m\\n.realm" and out.is_dir()


def test_leftovers_of_an_interrupted_command_are_removed_and_said(stages: _Stages) -> None:
    _invoke("data")
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    ).stdout.strip()
    Path(f"runs/demo/.teacher.safetensors.partial-{gone}").write_text("half")
    result = _invoke("train")
    assert result.exit_code == 0
    assert "removed 1 half-written file(s)" in result.stderr


def test_run_says_that_a_record_is_damaged_and_performs_the_stage_anew(stages: _Stages) -> None:
    _invoke("run")
    record = Path("runs/demo/stages/train.json")
    was = record.read_text()
    record.write_text("{")
    result = _invoke("run")
    assert result.exit_code == 0
    assert "[train] is stale (its record stages/train.json was changed since)" in result.stderr
    assert record.read_text() == was


def _breaks(run: RunDir, progress: object, *arguments: Any) -> Any:
    raise KeyError("scale of a\nblock")


def test_a_bug_costs_a_line_and_its_traceback_is_kept(stages: _Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    monkeypatch.setattr(stages_module, "stage_of", lambda verb: _breaks)
    result = _invoke("run")
    kept = Path("cache/realm-edge/traceback.txt").absolute()
    assert result.exit_code == 70 and result.stdout == ""
    *_, line = result.stderr.splitlines()
    assert line.startswith("realm-edge: error: KeyError: 'scale of a\\nblock' (in realm_edge.app.workflow, line ") and str(kept) in line
    assert "Traceback" in kept.read_text() and "in _breaks" in kept.read_text() and "Traceback" not in result.stderr


def test_a_bug_whose_traceback_cannot_be_kept_shows_it(stages: _Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a_file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("a_file").absolute()))
    monkeypatch.setattr(stages_module, "stage_of", lambda verb: _breaks)
    assert isinstance(_invoke("run").exception, KeyError)


def test_usage_errors_are_status_2() -> None:
    assert _invoke("run", "--colour").exit_code == 2
    assert _invoke("paint").exit_code == 2


@pytest.mark.parametrize("command", [[], *([name] for name in cli.main.commands)])
def test_every_help_ends_with_an_example(command: list[str]) -> None:
    result = _invoke(*command, "--help")
    assert result.exit_code == 0
    last = " ".join(result.stdout.split("\n\n")[-1].split())
    assert last.startswith(f"Example: realm-edge {' '.join(command)}".strip())


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, realm_edge.app.cli; print(sorted({'numpy', 'torch', 'tvm', 'onnx', 'pydantic', 'rich'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert shown.stdout.strip() == "[]"


def test_targets_are_listed_with_what_is_assumed() -> None:
    lines = _invoke("targets").stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert names[:2] == ["cortex-m4", "rv32imc"] and {*TARGETS, "stm32g0b1"} <= set(names)
    assert "assumed" in lines[1] and "no power figure" not in lines[1]
    assert "no power figure" in lines[names.index("nrf52840")]
    assert [row["name"] for row in json.loads(_invoke("targets", "--json").stdout)] == names


def test_doctor_is_content_here_and_names_the_remedy_where_qemu_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    here = json.loads(_invoke("doctor", "--json").stdout)
    assert here["ok"] == all(item["found"] for item in here["items"] if item["required"])
    assert {"python", "torch", "apache-tvm", "ziglang"} <= {item["name"] for item in here["items"] if item["found"]}
    monkeypatch.setenv("PATH", "")
    result = _invoke("doctor")
    assert result.exit_code == 1
    assert any(
        line.startswith("MISSING  qemu-system-riscv32") and "apt-get install qemu-system-arm qemu-system-misc" in line
        for line in result.stdout.splitlines()
    )


@pytest.mark.parametrize("command", ["run", "simulate", "baselines"])
def test_a_qemu_that_does_not_work_is_told_before_anything_is_done(
    stages: _Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert _invoke("run").exit_code == 0
    stages.calls.clear()
    monkeypatch.setattr(emulator, "find_emulator", stages.real_find_emulator)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    for name in ("qemu-system-arm", "qemu-system-riscv32"):
        (tmp_path / name).write_text(
            "#!/bin/sh\n[ $1 = --version ] && echo QEMU emulator version 99.0 || { echo no plugins >&2; exit 1; }\n"
        )
        (tmp_path / name).chmod(0o755)
    error = _one_line_error(_invoke(command, *(["--fresh"] if command == "run" else [])))
    assert "qemu-system-arm: QEMU 99.0 cannot run the counting plugin (no plugins); put QEMU 7.2 to" in error
    assert stages.calls == []
    assert (tmp_path / "runs/demo/stages/report.json").exists()  # --fresh has removed nothing


def test_a_qemu_that_was_never_tested_is_told(stages: _Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "find_emulator", lambda target: emulator.Emulator("qemu", "99.0", 7))
    result = _invoke("run")
    assert result.exit_code == 0
    assert result.stderr.count("QEMU 99.0 was never tested with this") == 1


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("data", (Recordings(),)),
        ("train", ()),
        ("export", ()),
        ("quantize", ()),
        ("compile", ("cortex-m4", "cortex-m4", "acme")),
        ("simulate", ("cortex-m4", None)),
        ("report", (TARGETS,)),
        ("baselines", (TARGETS,)),
        ("verify", (500,)),
    ],
)
def test_the_stages_take_what_the_command_line_gives_them(verb: str, arguments: tuple[Any, ...]) -> None:
    inspect.signature(stages_module.stage_of(verb)).bind("run", "progress", *arguments)


def _verification(holds: bool, difference: dict[str, Any] | None = None) -> Verification:
    settled = [{"within": 0.05, "bins": [4, 6], "median_bins": 5.0, "max_bins": 6.0, "median_s": 0.1, "max_s": 0.12}]
    never = [{"within": 0.05, "bins": [None, None], "median_bins": None, "max_bins": None, "median_s": None, "max_s": None}]
    stream: dict[str, Any] = dict.fromkeys(("ladder", "adversarial", "endurance", "reset"))
    if difference is None:
        stream = {
            "ladder": {"bins": 10_000, "passes": 0.5, "frontend_ticks": 200_000},
            "adversarial": [{"bins": 50, "frontend_ticks": 1000}, {"bins": 60, "frontend_ticks": 0}],
            "endurance": {
                **{"errors": [0.03, 0.02], "window_s": 10.0, "first": 0.02, "last": 0.021 if holds else 0.05, "most_growth": 1.5},
                **{"warm_up_s": 3.0, "holds": holds, "seconds": 600.0, "compared_s": 60.0},
            },
            "reset": {"at_s": [3.0, 9.0], "int8": settled, "float": never},
        }
    ok = holds and difference is None
    return loose(Verification, {"ok": ok, "synthetic": True, "streams": {"lfp": {"ok": ok, "difference": difference, **stream}}})


@pytest.mark.parametrize(
    ("holds", "difference", "line"),
    [
        (True, None, "lfp: int8 against float, 600 s: 2.00 % of the sd at the start, 2.10 % at the end, of 3.00 %: ok"),
        (False, None, "lfp: int8 against float, 600 s: 2.00 % of the sd at the start, 5.00 % at the end, of 3.00 %: BROKEN"),
        (False, {"line": "decoder: 'decoded', tick 7"}, "lfp: DIFFERS: decoder: 'decoded', tick 7"),
    ],
)
def test_verify_says_what_fails_and_ends_with_status_1(
    stages: _Stages, monkeypatch: pytest.MonkeyPatch, holds: bool, difference: dict[str, Any] | None, line: str
) -> None:
    assert _invoke("run").exit_code == 0

    def verify(run: RunDir, progress: object, bins: int | None) -> Verification:
        stages.arguments["verify"] = (bins,)
        return _verification(holds, difference)

    monkeypatch.setattr(stages_module, "stage_of", lambda verb: verify)
    result = _invoke("verify", "--bins", "500", "--out", "runs/demo")
    assert result.exit_code == (0 if holds else 1), result.output
    assert stages.arguments["verify"] == (500,)
    assert result.stdout.startswith("synthetic recordings: no evidence about brains\n") and f"\n{line}" in result.stdout
    assert Path("runs/demo/verification.png").read_bytes().startswith(b"\x89PNG")
    if difference is None:
        assert "onnxruntime equals the reference over 10,000 decoder steps and 200,000 ticks of the front end (0.50 times" in result.stdout
        assert "lfp: int8 after 2 resets: 5 bins (at most 6, 0.12 s) to within 5 %" in result.stdout
        assert "lfp: float after 2 resets: mostly longer than watched to within 5 %" in result.stdout
    assert json.loads(_invoke("verify", "--out", "runs/demo", "--json").stdout)["ok"] is holds
