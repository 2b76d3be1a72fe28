"""Model against RTL: what is refused at once, and (marker rtl) the whole validation against the numbers that are quoted."""

import shutil
import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest
from click.testing import CliRunner

from export.stepgraph import DOMAIN
from firmware_sim import cores
from firmware_sim.cores import load_core
from firmware_sim.targets import get_target
from firmware_sim.validation import rtl
from firmware_sim.validation.firmware import FIRMWARES
from firmware_sim.validation.measure import run_emulator, run_rtl
from firmware_sim.validation.output import print_table
from firmware_sim.validation.programs import build_harness, build_program
from firmware_sim.validation.rtl import build_rtl, get_rtl, rtl_cores
from firmware_sim.validation.run import Row, Waited, summary, validate
from firmware_sim.wait_states import Waits
from quantization.operators import OPERATORS
from realm_edge.app.cli import main
from realm_edge.errors import UserError
from realm_edge.progress import Silent

RECORDED = tomllib.loads(files("firmware_sim").joinpath("data/validation.toml").read_text(encoding="utf-8"))


def test_a_core_without_rtl_is_refused():
    done = CliRunner().invoke(main, ["validate", "--core", "cortex-m4"])
    assert done.exit_code == 2
    assert "core 'cortex-m4': no public RTL to validate it against; use one of ibex-small, ibex-maxperf, cv32e40p" in done.stderr


def test_missing_verilator_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None if program == "verilator" else f"/usr/bin/{program}")
    with pytest.raises(UserError, match="verilator is not installed: on Debian 'apt-get install verilator'"):
        build_rtl("ibex-small")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(rtl, "distribution", lambda name: (_ for _ in ()).throw(rtl.PackageNotFoundError(name)))
    with pytest.raises(UserError, match=r"pythondata-cpu-ibex \(the RTL of ibex-small\) is not installed: pip install 'realm-edge\[rtl\]'"):
        rtl._package(get_rtl("ibex-small"))


def test_every_kernel_that_the_compiler_has_is_in_a_validated_firmware():
    built = [build() for build in FIRMWARES.values()]
    graphs = [graph for one in built for graph in (one.frontend, one.decoder) if graph]
    assert {node.op_type for graph in graphs for node in graph.graph.node if node.domain == DOMAIN} == set(OPERATORS)


def row(cycles: float, taken: int, low: float | None = None, high: float | None = None, waits: tuple[Waited, ...] = ()) -> Row:
    low, high = cycles if low is None else low, cycles if high is None else high
    error = 100 * (cycles - taken) / taken
    return Row("ibex-small", f"p{taken}", "p", "", taken, cycles, low, high, error, low < high, False, taken > 1000, waits)


def test_the_worst_error_decides_and_a_range_must_hold(monkeypatch):
    monkeypatch.setattr("firmware_sim.validation.run.versions", lambda rtl: {})
    good = summary("ibex-small", [row(1005, 1000), row(991, 1001), row(37, 2, 2, 37)])
    assert good["ok"] and good["worst_program"] == "p1001" and good["ranges"] == 1
    assert good["worst_error_percent"] == pytest.approx(-0.999, abs=1e-3)
    assert not summary("ibex-small", [row(1005, 1000), row(989, 1000)])["ok"]
    outside = summary("ibex-small", [row(1000, 1000), row(37, 38, 2, 37)])
    assert not outside["ok"] and outside["outside_range"] == ["p38"]


def test_the_worst_error_with_wait_states_is_judged_by_port(monkeypatch):
    monkeypatch.setattr("firmware_sim.validation.run.versions", lambda rtl: {})

    def waited(port: str, error: float) -> Waited:
        return Waited(port, 3, 100, 100 + error, 100, 110, error)

    rows = [row(1000, 1000, waits=(waited("fetch", 1.5), waited("data", -0.5))), row(1001, 1001, waits=(waited("fetch", -0.2),))]
    found = summary("ibex-small", rows)["wait_states"]
    assert (found["fetch"]["worst_error_percent"], found["fetch"]["worst_program"]) == (1.5, "p1000, 3")
    assert (found["fetch"]["programs"], found["fetch"]["programs_after_freeze"]) == (2, 1)
    assert found["fetch"]["worst_error_after_freeze_percent"] == -0.2 and found["data"]["worst_error_after_freeze_percent"] is None
    assert summary("ibex-small", rows)["ok"]
    assert not summary("ibex-small", [row(1000, 1000, waits=(waited("data", 1.5),))])["ok"]


MEASURED = """
command = "realm-edge validate"
date = "2031-02-03"
not_validated = "all that is left"
[cores.made-up]
programs = 41
sources = 13
kernels = 17
worst_error_percent = -0.1234
worst_program = "sort -O2"
versions = {rtl = "1.5", verilator = "5.6"}
wait_states.fetch = {worst_error_percent = 0.4567, worst_program = "list -O2, 3"}
wait_states.data = {worst_error_percent = -0.789, worst_program = "wide -O2, 1"}
"""


def test_the_measured_error_is_quoted_with_the_table(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "validation.toml").write_text(MEASURED)
    with monkeypatch.context() as patch:
        patch.setattr(cores, "files", lambda package: tmp_path)
        assert cores.measured_validation("another") == {}
        assert cores.measured_validation("made-up") == {
            "validation": "measured against RTL (rtl 1.5, verilator 5.6): worst error -0.123 % (sort -O2) over 41 programs of 13 sources "
            "and 17 kernels; with wait states on fetch 0.457 % (list -O2, 3); with wait states on data -0.789 % (wide -O2, 1); "
            "'realm-edge validate', 2031-02-03; not validated: all that is left"
        }
    for core in rtl_cores():
        assert load_core(core).validation.startswith("measured against RTL (")
        recorded = RECORDED["cores"][core]  # and what is quoted keeps to what was promised
        assert abs(recorded["worst_error_percent"]) <= get_rtl(core).limit_percent and recorded["programs"] >= 40


@pytest.fixture(scope="module")
def asked_for(request):
    if "rtl" not in request.config.option.markexpr:  # such as -m "not slow", which replaces the default
        pytest.skip("builds RTL: only with -m rtl")


@pytest.fixture(scope="module")
def measured(asked_for):
    return validate(list(rtl_cores()), Silent())


@pytest.mark.rtl
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("core", sorted(rtl_cores()))
def test_the_validation_gives_the_recorded_result(core, measured, capsys):
    found, recorded = measured["cores"][core]["summary"], RECORDED["cores"][core]
    assert found["ok"], found
    assert found["programs"] >= 40 and found["sources"] >= 12 and found["programs_after_freeze"] >= 20
    assert abs(found["worst_error_percent"]) <= abs(recorded["worst_error_percent"]) + 0.01
    for key in ("programs", "programs_after_freeze", "sources", "kernels", "ranges", "limit_percent"):
        assert found[key] == recorded[key], key
    for port, waited in found["wait_states"].items():
        assert waited["programs"] >= 20 and waited["programs_after_freeze"] >= 3
        assert abs(waited["worst_error_percent"]) <= abs(recorded["wait_states"][port]["worst_error_percent"]) + 0.01
        for key in ("programs", "programs_after_freeze", "limit_percent"):
            assert waited[key] == recorded["wait_states"][port][key], (port, key)
    regions = {row["part"] for row in measured["cores"][core]["rows"]}
    assert {"frontend", "decoder", "send"} <= regions
    print_table(measured)
    assert "written after the table was frozen" in capsys.readouterr().out


@pytest.mark.rtl
@pytest.mark.timeout(1800)
def test_wait_states_cost_cycles_and_change_no_result(asked_for, tmp_path):
    target = get_target("rv32imc")
    elf = build_program("matvec", "-O2", build_harness(target, tmp_path / "harness"), target, tmp_path / "program")
    runs = {waits: run_rtl(build_rtl("ibex-small"), elf, tmp_path, *waits) for waits in ((0, 0), (1, 0), (0, 1), (0, 2))}
    cycles = {waits: run.regions["program"].cycles for waits, run in runs.items()}
    assert len({run.text for run in runs.values()}) == 1
    assert cycles[1, 0] > cycles[0, 0]
    assert cycles[0, 2] - cycles[0, 1] == cycles[0, 1] - cycles[0, 0] > 0  # Ibex small waits for each access, and for nothing else


@pytest.mark.rtl
@pytest.mark.timeout(1800)
def test_a_smaller_prefetch_buffer_is_seen_against_the_rtl(asked_for, tmp_path):
    target, table = get_target("rv32imc"), load_core("ibex-small")
    assert table.fetch is not None
    elf = build_program("fft", "-O2", build_harness(target, tmp_path / "harness"), target, tmp_path / "program")
    took = run_rtl(build_rtl("ibex-small"), elf, tmp_path, 1, 0).regions["program"].cycles
    model = run_emulator(elf, target, tmp_path)
    smaller = replace(table, fetch=replace(table.fetch, buffer_words=2))
    assert abs(model.price(table, Waits(fetch=1))["program"].cycles.cycles - took) < 0.001 * took
    assert model.price(smaller, Waits(fetch=1))["program"].cycles.cycles > took


@pytest.mark.rtl
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["alu", "load", "mul", "branch_taken", "unaligned_target"])
def test_a_change_of_one_constant_is_seen_against_the_rtl(kind, asked_for, tmp_path):
    target, table = get_target("rv32imc"), load_core("ibex-small")
    elf = build_program("conv_crc", "-Os", build_harness(target, tmp_path / "harness"), target, tmp_path / "program")
    took = run_rtl(build_rtl("ibex-small"), elf, tmp_path).regions["program"].cycles
    model, cost = run_emulator(elf, target, tmp_path), table.cycles[kind]
    dearer = replace(table, cycles=table.cycles | {kind: replace(cost, cycles=cost.cycles + 1, high=cost.high + 1)})
    assert model.price(table)["program"].cycles.cycles == took
    assert model.price(dearer)["program"].cycles.cycles > took
