"""The command board-check, what it keeps in a run, and what the report makes of that."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import firmware_sim.board.table
from firmware_sim.board.form import BOARD, Board
from firmware_sim.bundle import MANIFEST, load_bundle
from realm_edge.app import boards
from realm_edge.app.cli import main
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.report import run as write_report
from realm_edge.app.workflow import report_request
from realm_edge.errors import UserError
from realm_edge.files import read_json, sha256_file
from realm_edge.progress import Silent
from realm_edge.settings import Settings
from tests.firmware_sim import conftest
from tests.firmware_sim.board.logs import distorted, ended, head, priced, written
from tests.realm_edge.test_report import TARGETS, _made_up_run, _page

FILTER, LINEAR = "realm_frontend_k00_filter", "realm_decoder_k00_linear"
FACTORS = {FILTER: 1.25, LINEAR: 0.8}
NONE = "name=none asked=none mask=4294967295 overhead=0 chain=256 least=0 most=0"


def invoke(*words: object) -> Result:
    result = CliRunner().invoke(main, ["board-check", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with its manifest, and no self-test: logs are made up."""
    folder = conftest.write_bundle(tmp_path_factory.mktemp("board") / "bundle", "cortex-m4", True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    (folder / MANIFEST).write_text("".join(f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in files))
    return folder


@pytest.fixture
def run(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run that has the bundle for cortex-m4; QEMU is left out, and the table is a rule."""
    made = _made_up_run(tmp_path / "run")
    shutil.copytree(bundle, made.file("firmware", "cortex-m4", "lfp"))
    checked: list[Path] = []
    monkeypatch.setattr(boards, "see_that_it_is_compiled", lambda run, flashed: checked.append(flashed.bundle.path))

    def price(bundle, target):
        assert checked == [bundle.path] and target.name == "cortex-m4"  # nothing of a run is executed that was not looked at
        return priced(bundle)

    monkeypatch.setattr(firmware_sim.board.table, "price", price)
    yield made.path


def log(folder: Path, bundle: Path, factors: dict[str, float] = FACTORS, **counter: str) -> Path:
    known = load_bundle(bundle)
    path = folder / "serial.log"
    path.write_bytes(b"boot\r\n" + written(distorted(known, priced(known), factors, **counter)))
    return path


def test_a_distorted_board_comes_back_in_json_in_the_run_and_in_the_report(run: Path, bundle: Path, tmp_path: Path) -> None:
    result = invoke(log(tmp_path, bundle), "--out", run, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    errors = {row["symbol"]: row["error_percent"] for row in told["rows"] if row["symbol"]}
    assert told["format"] == BOARD and told["name"] == "nucleo-l4r5zi-lfp" and told["target"] == "cortex-m4"
    assert errors[FILTER] == pytest.approx(-20.0) and errors[LINEAR] == pytest.approx(25.0)
    path = run / "boards" / "nucleo-l4r5zi-lfp.json"
    opened = RunDir.open(run)
    (kept,) = boards.boards_of(opened, TARGETS)
    assert (
        isinstance(kept, Board)
        and kept.rows[0].measured == told["rows"][0]["measured"]
        and kept.log_sha256 == sha256_file(tmp_path / "serial.log")
    )
    assert report_request(opened, TARGETS)["boards"] == {kept.name: sha256_file(path)}
    write_report(opened, Silent(), TARGETS)
    page = _page(opened)
    whole = sum(row.measured for row in kept.rows if row.op == "stage")
    assert 'id="boards"' in page and f"{whole:,.0f}, measured on your board: nucleo-l4r5zi-lfp" in page
    assert f"<code>{FILTER}</code> (filter)" in page and "-20.0</td>" in page and "+25.0</td>" in page
    assert json.loads((run / "report.json").read_text())["boards"][0]["name"] == kept.name
    assert opened.is_complete("report")
    # Another measurement makes the report stale; a bundle that is compiled anew takes the board out of it.
    invoke(log(tmp_path, bundle, {}), "--out", run)
    assert report_request(opened, TARGETS)["boards"] != {kept.name: kept}
    with (run / "firmware/cortex-m4/lfp/src/realm_decoder.c").open("a") as source:
        source.write("\n")
    assert boards.boards_of(opened, TARGETS) == () and "boards" not in report_request(opened, TARGETS)
    write_report(opened, Silent(), TARGETS)
    assert 'id="boards"' not in _page(opened) and "boards" not in json.loads((run / "report.json").read_text())


def test_a_log_without_a_counter_is_kept_for_its_bits_and_prices_nothing(
    run: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware_sim.board.table, "price", None)  # would fail
    result = invoke(log(tmp_path, bundle, {}, counter=NONE), "--out", run, "--name", "bench-2")
    assert result.exit_code == 0 and "not measured: no counter; bits alone were checked" in result.stdout
    opened = RunDir.open(run)
    write_report(opened, Silent(), TARGETS)
    page = _page(opened)
    assert "Cycles were not measured: no counter; bits alone were checked." in page and "measured on your board: bench-2" not in page


def test_bits_that_differ_are_status_1_and_are_told(run: Path, bundle: Path, tmp_path: Path) -> None:
    known = load_bundle(bundle)
    lines = distorted(known, priced(known), {})[:-1]
    lines = [(kind, rest.replace("wrong=0 bin=0", "wrong=2 bin=7") if "by=model" in rest else rest) for kind, rest in lines]
    (tmp_path / "bad.log").write_bytes(written(ended(lines, agrees=0)))
    result = invoke(tmp_path / "bad.log", "--out", run)
    assert result.exit_code == 1 and "BITS DIFFER: run by model: 2 of 200 outputs differ, the first in bin 7" in result.stdout
    write_report(RunDir.open(run), Silent(), TARGETS)
    assert '<span class="bad">Bits differ.</span>' in _page(RunDir.open(run))


def test_a_bundle_alone_gives_bits_and_cycles(bundle: Path, tmp_path: Path) -> None:
    result = invoke(log(tmp_path, bundle), "--bundle", bundle, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["measured"] and told["target"] is None and {row["table"] for row in told["rows"]} == {None}
    assert "no table: name the run (--out)" in invoke(log(tmp_path, bundle), "--bundle", bundle).stdout


def test_energy_comes_with_the_cycles(bundle: Path, run: Path, tmp_path: Path) -> None:
    seconds = 100 * 400 / 120e6  # cycles of the first run, by the clock of the log
    rows = ["Timestamp(ms),Current(uA),D0-D7", "0,100,00000000"]
    rows += [f"{1 + 1e3 * seconds * i / 50:.9f},5000,10000000" for i in range(51)] + ["9,100,00000000"]
    (tmp_path / "ppk.csv").write_text("\n".join(rows))
    given = ("--current", tmp_path / "ppk.csv", "--volts", "3")
    result = invoke(log(tmp_path, bundle), "--out", run, *given)
    assert (
        result.exit_code == 0 and "energy: 125.0 pJ a cycle (PPK2, window by D0, 3.00 V told, 5.000 mA, cycles by counter)" in result.stdout
    )
    write_report(RunDir.open(run), Silent(), TARGETS)
    assert "<strong>125 pJ a cycle</strong>, by a PPK2 over 51 samples (3 V, as told" in _page(RunDir.open(run))
    result = invoke(log(tmp_path, bundle, counter=NONE), "--out", run, *given)
    assert result.exit_code == 2 and "the log has no cycles to divide energy by" in result.stderr


def test_the_run_and_the_part_are_found_or_asked_for(run: Path, bundle: Path, tmp_path: Path) -> None:
    opened = RunDir.open(run)
    assert invoke(log(tmp_path, bundle), "--out", run, "--target", "cortex-m4").exit_code == 0
    result = invoke(log(tmp_path, bundle), "--out", run, "--target", "rv32imc")
    assert result.exit_code == 2 and "that" in result.stderr and "does not have (compiled for rv32imc)" in result.stderr
    result = invoke(log(tmp_path, bundle), "--out", run, "--target", "z80")
    assert result.exit_code == 2 and "unknown target 'z80'" in result.stderr
    shutil.copytree(bundle, opened.file("firmware", "nrf52840", "lfp"))
    opened.complete("compile.nrf52840", [], opened.summary("compile.cortex-m4"))
    result = invoke(log(tmp_path, bundle), "--out", run)
    assert result.exit_code == 2 and "of several targets (cortex-m4, nrf52840): name the one that the board has (--target)" in result.stderr
    empty = RunDir.create(tmp_path / "empty", Settings())
    result = invoke(log(tmp_path, bundle), "--out", empty.path)
    assert result.exit_code == 2 and "(nothing is compiled)" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bundle", "b", "--out", "r"), "--bundle: it is in place of a run"),
        (("--bundle", "b", "--target", "cortex-m4"), "--bundle: it is in place of a run"),
        (("--volts", "3"), "--volts: it is about --current"),
        (("--window", "1:2"), "--window: it is about --current"),
        (("--current", "c.csv", "--mark", "D0", "--window", "1:2"), "--window 1:2: --mark says where the run is"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = invoke(tmp_path / "none.log", *words)
    assert result.exit_code == 2 and said in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("window", ["2:1", "1", "a:b", "1:2:3", ""])
def test_a_window_is_two_times(window: str, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("Timestamp(ms),Current(uA)\n1,2\n2,2\n")
    result = invoke(log(tmp_path, bundle), "--bundle", bundle, "--current", tmp_path / "c.csv", "--volts", "3", "--window", window)
    assert result.exit_code == 2 and "use seconds on the probe's clock" in result.stderr


def test_names_are_names_of_files(bundle: Path, run: Path, tmp_path: Path) -> None:
    for name in ("../x", "A", "", "x" * 61, ".x"):
        result = invoke(log(tmp_path, bundle), "--out", run, "--name", name)
        assert result.exit_code == 2 and "--name " in result.stderr
    lines = [
        (kind, "../\u0007 My Böard/7" if kind == "board" else rest)
        for kind, rest in distorted(load_bundle(bundle), priced(load_bundle(bundle)), {})
    ]
    (tmp_path / "odd.log").write_bytes(written([(kind, rest.encode("ascii", "replace").decode()) for kind, rest in lines]))
    assert invoke(tmp_path / "odd.log", "--out", run).exit_code == 0
    assert [path.name for path in (run / "boards").iterdir()] == ["my-b-ard-7-lfp.json"]


def test_what_is_kept_of_a_board_cannot_be_edited(run: Path, bundle: Path, tmp_path: Path) -> None:
    invoke(log(tmp_path, bundle), "--out", run)
    path = run / "boards" / "nucleo-l4r5zi-lfp.json"
    opened, whole = RunDir.open(run), path.read_text()
    path.write_text(whole.replace('"cortex-m4"', '"rv32imc"', 1))
    with pytest.raises(UserError, match=r"nucleo-l4r5zi-lfp.json: changed since it was written, or of another version: remove it"):
        boards.boards_of(opened, TARGETS)
    path.write_text(whole)
    path.rename(path.with_name("other.json"))
    with pytest.raises(UserError, match="it says that it is of 'nucleo-l4r5zi-lfp'"):
        boards.boards_of(opened, TARGETS)
    assert read_json(path.with_name("other.json"))["format"] == BOARD


def test_a_log_is_taken_from_a_serial_port(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("serial", reason="pyserial is not installed: pip install 'realm-edge[boards]'")
    ours, theirs = os.openpty()
    content = log(tmp_path, bundle).read_bytes()

    def board() -> None:  # is reset in between
        for piece in (content[:700], b"\r\nreset\r\n", content[:300], content[300:], b"idle\r\n"):
            os.write(ours, piece)

    sender = threading.Timer(0.5, board)
    sender.start()
    result = invoke(tmp_path / "taken.log", "--port", os.ttyname(theirs), "--seconds", "20", "--bundle", bundle, "--json")
    sender.join()
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["measured"] and content.splitlines()[-1] + b"\r\n" in (tmp_path / "taken.log").read_bytes()


def test_a_port_that_is_none_and_one_that_says_nothing_cost_a_line(tmp_path: Path) -> None:
    pytest.importorskip("serial", reason="pyserial is not installed: pip install 'realm-edge[boards]'")
    result = invoke(tmp_path / "x.log", "--port", tmp_path / "none")
    assert result.exit_code == 2 and "name the board's serial port" in result.stderr
    _, theirs = os.openpty()
    result = invoke(tmp_path / "x.log", "--port", os.ttyname(theirs), "--seconds", "1")
    assert result.exit_code == 2 and "nothing within 1 s: reset the board after the command has begun" in result.stderr
    assert not (tmp_path / "x.log").exists()


def test_without_pyserial_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "serial", None)
    result = invoke(tmp_path / "x.log", "--port", "/dev/ttyACM0")
    assert result.exit_code == 2 and "pip install 'realm-edge[boards]'" in result.stderr


def test_the_lines_before_the_regions_are_those_of_the_self_test() -> None:
    """So that logs that tests make up are of the form that the C writes."""
    template = Path(firmware_sim.board.table.__file__).parents[1].joinpath("compiler/templates/selftest.c").read_text()
    for kind, rest in head():
        assert f'begin_line("{kind}")' in template or f'text_line("{kind}"' in template
        for word in rest.split() if "=" in rest else ():
            assert f'"{word.partition("=")[0]}"' in template
