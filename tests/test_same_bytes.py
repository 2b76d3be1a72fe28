"""Two whole runs in two folders are equal to the byte; and no file of a finished run can be edited without being found."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from realm_edge import prepared
from realm_edge.app.cli import main
from realm_edge.app.rundir import RunDir
from tests.small_run import DIFFERS_BY_DESIGN, TARGET, arguments, content, needs_emulator, write_inputs

pytestmark = pytest.mark.slow
# What the report is made of decides what it says; it writes its own files anew.
MADE_BY_REPORT = ("report.html", "report.json", "stages/report.json", "stages/report.request.json")
# Where the recording has another name, these tell it. Weights, graphs, bundles, golden vectors and figures do not.
TELLS_THE_NAME = ("data/*", "stages/*", "metrics.json", "report.html", "report.json")


def invoke(words: list[str]) -> Result:
    result = CliRunner().invoke(main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(folder: Path, out: str, name: str = "monday") -> Path:
    """A whole run; nothing that was prepared for another is used."""
    needs_emulator()
    write_inputs(folder, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "cache_folder", lambda: folder / "cache")
        result = invoke(arguments(folder, folder / out, name))
    assert result.exit_code == 0, result.stderr
    return folder / out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return done(tmp_path_factory.mktemp("here"), "run")


def test_two_runs_in_two_folders_are_equal_to_the_byte(finished: Path, tmp_path: Path) -> None:
    first, second = content(finished), content(done(tmp_path / "elsewhere", "another"))
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []
    kinds = {Path(name).suffix for name in first}
    assert kinds >= {".safetensors", ".onnx", ".npz", ".json", ".html", ".toml", ".o", ".a", ".c", ".h"}
    everything = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert {name.partition("/")[0] for name in everything - set(first)} == {"tensorboard", "stages", ".lock"}
    assert str(finished.parent).encode() not in b"".join(first.values())


def test_another_name_of_the_recording_changes_what_tells_the_name_alone(finished: Path, tmp_path: Path) -> None:
    but = (*DIFFERS_BY_DESIGN, *TELLS_THE_NAME)
    first, second = content(finished, but), content(done(tmp_path, "run", "tuesday"), but)
    assert first == second and {"student.safetensors", "decoder.int8.onnx", f"simulation/{TARGET}.json"} <= set(first)

    def figures(page: str) -> list[str]:
        return [part.partition("</svg>")[0] for part in page.split("<svg")[1:]]

    drawn = [figures((run / "report.html").read_text()) for run in (finished, tmp_path / "run")]
    assert len(drawn[0]) >= 6 and drawn[0] == drawn[1]


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """The finished run, to be damaged."""
    yield Path(shutil.copytree(finished, tmp_path / "run"))


def flip(path: Path, at: float = 0.5) -> bytes:
    """Change the lowest bit of a byte in a file; returns what the file was."""
    was = path.read_bytes()
    where = min(int(at * len(was)), len(was) - 1)
    path.write_bytes(was[:where] + bytes([was[where] ^ 1]) + was[where + 1 :])
    return was


def test_a_flipped_bit_in_any_file_of_a_finished_run_is_found_by_the_report(finished: Path, copy: Path) -> None:
    deciding = content(finished)
    for name in sorted(set(deciding) - set(MADE_BY_REPORT)):
        for at in (0.1, 0.5, 0.9):
            was = flip(copy / name, at)
            result = invoke(["report", "--target", TARGET, "--out", str(copy)])
            said = result.stderr.splitlines()[-1]
            assert result.exit_code == 2 and said.startswith("realm-edge: error: "), (name, at, result.stderr)
            assert Path(name).name in said or Path(name).name.partition(".")[0] in said or "settings changed" in said, (name, said)
            (copy / name).write_bytes(was)
    assert content(copy) == deciding
    for name in MADE_BY_REPORT:
        flip(copy / name)
        result = invoke(["report", "--target", TARGET, "--out", str(copy)])
        found = result.exit_code == 2 and name in result.stderr  # a request that is no JSON any more
        assert found or content(copy) == deciding, name
        (copy / name).write_bytes(deciding[name])


STAGES = {
    "data/monday.npz": "data",
    "stages/data.request.json": "data",
    "student.safetensors": "train",
    "stages/train.json": "train",
    "frontend.onnx": "export",
    "calibration.json": "quantize",
    f"firmware/{TARGET}/lfp/src/realm_lfp_decoder.c": f"compile.{TARGET}",
    f"stages/simulate.{TARGET}.json": f"simulate.{TARGET}",
}


def test_run_performs_anew_what_was_edited_and_comes_to_the_same_bytes(finished: Path, copy: Path) -> None:
    deciding, inputs = content(finished), finished.parent
    for name, stage in STAGES.items():
        text = (copy / name).read_bytes()
        if name.endswith(".json"):  # still JSON: another digit
            at = next(place for place in range(len(text) // 2, len(text)) if text[place : place + 1].isdigit())
            (copy / name).write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])
        else:
            flip(copy / name)
        assert not RunDir.open(copy).is_complete(stage), name
        result = invoke(arguments(inputs, copy))
        assert result.exit_code == 0 and f"[{stage}] is stale (" in result.stderr, (name, result.stderr)
        assert content(copy) == deciding, name


def test_a_file_that_nobody_compiled_is_not_built_into_firmware(copy: Path) -> None:
    bundle = copy / "firmware" / TARGET / "lfp"
    stray = bundle / "src" / "stray.c"
    stray.write_text("int stray;\n")
    result = invoke(["simulate", "--target", TARGET, "--out", str(copy)])
    assert result.exit_code == 2 and "stray.c: SHA256SUMS does not list it: remove it, or rerun 'realm-edge compile'" in result.stderr
    stray.unlink()
    os.remove(bundle / "SHA256SUMS")
    result = invoke(["simulate", "--target", TARGET, "--out", str(copy)])
    assert result.exit_code == 2 and "SHA256SUMS was removed since" in result.stderr
