"""A run directory vouches for its files, or says which command mends them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realm_edge import versions
from realm_edge.app.rundir import RunDir
from realm_edge.app.summaries import SUMMARIES, DataSummary
from realm_edge.app.workflow import Workflow, report_request
from realm_edge.errors import UserError
from realm_edge.files import read_json, replacing, write_json, write_text
from realm_edge.progress import Silent
from realm_edge.seal import sealed
from realm_edge.settings import Settings


@pytest.fixture(autouse=True)
def any_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in SUMMARIES:
        monkeypatch.setitem(SUMMARIES, stage, dict[str, str | bool])


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run with everything done for one target."""
    made = RunDir.create(tmp_path / "run", Settings())
    for stage in ("data", "train", "export", "quantize", "compile.cortex-m4", "simulate.cortex-m4"):
        _perform(made, stage)
    made.request("report", {"targets": ["cortex-m4"]})
    _perform(made, "report")
    return made


def _perform(run: RunDir, stage: str, content: str = "made") -> None:
    output = run.file("simulation", f"{stage}.txt")
    write_text(output, f"{stage} {content}")
    run.complete(stage, [output], {"said": content})


def test_all_that_was_done_is_complete_also_after_reopening(run: RunDir) -> None:
    again = RunDir.open(run.path)
    again.require("report")
    assert again.is_complete("simulate.cortex-m4")
    assert again.summary("train") == {"said": "made"}
    assert again.digest("train") == run.digest("train")


def test_a_missing_stage_names_its_command(run: RunDir) -> None:
    with pytest.raises(UserError, match=r"stage 'compile.rv32imc' is missing: run 'realm-edge compile --target rv32imc --out .*run'"):
        run.require("compile.rv32imc")


def test_the_first_broken_stage_is_the_one_that_is_named(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", Settings())
    with pytest.raises(UserError, match="stage 'data' is missing: run 'realm-edge data --out "):
        run.require("quantize")


def test_changed_settings_make_every_stage_stale(run: RunDir) -> None:
    config = run.file("config.toml")
    config.write_text(config.read_text().replace("seed = 0", "seed = 1"))
    edited = RunDir.open(run.path)
    assert not any(edited.is_complete(stage) for stage in ("data", "train", "report"))
    with pytest.raises(UserError, match=r"'data' is stale \(the settings changed since\)"):
        edited.require("train")


def test_a_rerun_upstream_makes_what_follows_stale(run: RunDir) -> None:
    _perform(run, "train", "differently")
    assert run.is_complete("train")
    assert not run.is_complete("export")
    with pytest.raises(UserError, match=r"'export' is stale \(stage 'train' was rerun since\): run 'realm-edge export"):
        run.require("report")


def test_an_equal_rerun_changes_nothing(run: RunDir) -> None:
    _perform(run, "train")
    run.require("report")


def test_changed_and_removed_outputs_are_seen(run: RunDir) -> None:
    write_text(run.file("simulation", "export.txt"), "other bytes")
    with pytest.raises(UserError, match=r"'export' is stale \(simulation/export.txt was changed since\)"):
        run.require("quantize")
    run.file("simulation", "data.txt").unlink()
    with pytest.raises(UserError, match=r"'data' is stale \(simulation/data.txt was removed since\)"):
        run.require("quantize")


def test_a_removed_upstream_record_is_seen(run: RunDir) -> None:
    run.file("stages", "quantize.json").unlink()
    assert not run.is_complete("compile.cortex-m4")


def test_another_request_makes_a_stage_stale(run: RunDir) -> None:
    run.request("simulate.cortex-m4", {"budget": "abc"})
    with pytest.raises(UserError, match=r"'simulate.cortex-m4' is stale \(it was asked for other inputs since\)"):
        run.require("report")


def test_a_report_of_other_targets_is_not_this_report(run: RunDir) -> None:
    run.request("report", {"targets": ["cortex-m4", "rv32imc"]})
    assert not run.is_complete("report")


def test_broken_records_name_file_and_remedy(run: RunDir) -> None:
    record = run.file("stages", "train.json")
    for content in ("{", '{"summary": {}}'):
        record.write_text(content)
        with pytest.raises(UserError, match=r"'train' is stale \(its record stages/train\.json was changed since\): run 'realm-edge train"):
            run.require("train")
        with pytest.raises(UserError, match=r"train\.json: changed since it was written: run 'realm-edge train"):
            run.summary("train")
        assert run.fault("export") == "stale (the record of stage 'train' was changed since)"
    run.file("stages", "report.request.json").write_text("[]")
    with pytest.raises(UserError, match="not a stage request"):
        run.requested("report")


def test_a_record_that_says_other_things_than_this_version_names_the_field(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUMMARIES, "data", DataSummary)
    run.complete("data", [], {"synthetic": True, "single_recording": False, "sessions": [{"name": "monday"}]})
    with pytest.raises(UserError, match=r"stages/data\.json: sessions\.0\.heldout: Field required: run 'realm-edge data --out .*run'$"):
        run.summary("data")
    run.complete("data", [], {"synthetic": True, "single_recording": False, "sessions": [], "mood": "good"})
    with pytest.raises(UserError, match=r"data\.json: mood: Extra inputs are not permitted \(value 'good'\): run 'realm-edge data"):
        run.summary("data")


def test_an_edited_record_is_stale_and_says_nothing_else(run: RunDir) -> None:
    record = run.file("stages", "simulate.cortex-m4.json")
    record.write_text(record.read_text().replace('"made"', '"fine"'))
    with pytest.raises(
        UserError, match=r"'simulate.cortex-m4' is stale \(its record stages/simulate.cortex-m4.json was changed since\): run"
    ):
        run.require("report")
    with pytest.raises(UserError, match=r"simulate\.cortex-m4\.json: changed since it was written: run 'realm-edge simulate --target"):
        run.summary("simulate.cortex-m4")
    assert not run.is_complete("simulate.cortex-m4")
    _perform(run, "simulate.cortex-m4")
    run.require("report")  # the same bytes again: what was made from it still holds


def test_the_record_knows_what_a_stage_was_made_from_when_its_request_is_edited(run: RunDir) -> None:
    wanted = {"recordings": [["monday.npz", "abc"]]}
    run.request("data", wanted)
    _perform(run, "data")
    run.file("stages", "data.request.json").write_text('{"recordings": [["monday.npz", "abd"]]}')
    assert run.was_made_from("data", wanted) and not run.is_complete("data")
    assert not run.was_made_from("data", {"recordings": [["monday.npz", "abd"]]})
    run.request("data", wanted)
    assert run.is_complete("data")


def test_names_of_files_are_no_part_of_a_lineage_and_their_contents_are(tmp_path: Path) -> None:
    def lineage(name: str, sha256: str, behavior: str = "hand", seed: int = 0) -> str:
        made = RunDir.create(tmp_path / f"{name}-{sha256}-{behavior}-{seed}", Settings(seed=seed))
        made.request("data", {"recordings": [[name, sha256]], "behavior": behavior, "units_files": [f"{name}.csv"]})
        return made.lineage("train")

    assert lineage("monday", "abc") == lineage("tuesday", "abc")
    assert len({lineage("monday", "abc"), lineage("monday", "abd"), lineage("monday", "abc", "eye"), lineage("monday", "abc", seed=1)}) == 4


def test_times_are_kept_beside_the_records_and_decide_nothing(run: RunDir) -> None:
    before, digest = run.performed(), run.digest("train")
    run.note_seconds("train", {"student": {"finetune": [1.5]}})
    assert run.performed() == before and run.digest("train") == digest
    run.require("report")


def test_opening_what_is_no_run_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run directory .*: make one with 'realm-edge data --out "):
        RunDir.open(tmp_path / "none")


def test_other_settings_are_refused_with_the_remedy(run: RunDir) -> None:
    with pytest.raises(UserError, match="made with other settings: choose another --out, or --fresh to start over"):
        RunDir.create(run.path, Settings(seed=7))


def test_settings_can_change_as_long_as_nothing_was_done(tmp_path: Path) -> None:
    RunDir.create(tmp_path / "run", Settings())
    assert RunDir.create(tmp_path / "run", Settings(seed=7)).settings.seed == 7
    assert RunDir.open(tmp_path / "run").settings.seed == 7


def test_performed_stages_and_targets_are_listed(run: RunDir) -> None:
    assert run.performed() == ("compile.cortex-m4", "data", "export", "quantize", "report", "simulate.cortex-m4", "train")
    assert run.targets("simulate") == ("cortex-m4",)


def test_foreign_directories_are_neither_used_nor_erased(tmp_path: Path) -> None:
    foreign = tmp_path / "home"
    write_text(foreign / "letter.txt", "dear")
    for action in (lambda: RunDir.create(foreign, Settings()), lambda: RunDir.erase(foreign), lambda: RunDir.erase(foreign / "letter.txt")):
        with pytest.raises(UserError, match="not a run directory, and not empty"):
            action()
    assert (foreign / "letter.txt").read_text() == "dear"


def test_erasing_makes_room_for_other_settings(run: RunDir) -> None:
    RunDir.erase(run.path)
    assert not RunDir.create(run.path, Settings(seed=7)).is_complete("data")


def test_leftovers_of_a_killed_process_are_removed_and_those_of_a_living_one_kept(run: RunDir) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    ).stdout.strip()
    leftover = run.file("data", f".session.npz.partial-{dead}")
    write_text(leftover, "half")
    with replacing(run.file("data", "other.npz")) as living:
        living.write_text("being written")
        opened = RunDir.open(run.path)
        assert living.name.endswith(str(os.getpid()))
        assert living.exists()
    assert opened.removed == (leftover,)
    assert not leftover.exists()
    assert RunDir.open(run.path).removed == ()


def test_only_files_inside_the_run_can_be_outputs(run: RunDir, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("x")
    with pytest.raises(ValueError, match="outside"):
        run.complete("data", [outside], {})


@pytest.mark.parametrize("stage", ["baselines", "verify"])
def test_what_follows_quantize_to_the_side_is_stale_when_it_is_rerun(run: RunDir, stage: str) -> None:
    run.complete(stage, [], {})
    assert run.is_complete(stage) and run.is_complete("simulate.cortex-m4") and run.is_complete("report")
    output = run.file("again")
    output.write_text("other")
    run.complete("quantize", [output], {})
    with pytest.raises(UserError, match=rf"stage '{stage}' is stale \(stage 'quantize' was rerun since\): run 'realm-edge {stage}"):
        run.require(stage)


def test_a_report_that_shows_a_verification_is_made_from_it(run: RunDir) -> None:
    assert report_request(run, ["cortex-m4"]) == {"targets": ["cortex-m4"]}
    _perform(run, "verify")
    run.request("report", report_request(run, ["cortex-m4"]))
    assert not run.is_complete("report")  # it does not show the verification yet
    _perform(run, "report")
    assert run.is_complete("report")
    _perform(run, "verify", "differently")
    assert not run.is_complete("report")
    run.file("simulation", "verify.txt").unlink()
    assert report_request(run, ["cortex-m4"]) == {"targets": ["cortex-m4"]}


BROKEN_JSON = {
    "nested": "[" * 200_000,
    "NaN": '{"recordings": [NaN]}',
    "infinite": '{"recordings": [Infinity]}',
    "too large": '{"recordings": [1e999]}',
    "no list": '{"targets": 5}',
}


@pytest.mark.parametrize("kind", BROKEN_JSON)
def test_records_and_requests_that_are_no_json_cost_a_line(tmp_path, kind):
    run = RunDir.create(tmp_path / "run", Settings())
    out = run.file("data.bin")
    out.write_bytes(b"x")
    run.complete("data", [out], {})
    for name, what in (("data.request", "request"), ("data", "record")):
        path = run.file("stages", f"{name}.json")
        path.write_text(BROKEN_JSON[kind])
        with pytest.raises(UserError, match=rf"'data' is stale \(its {what} stages/{name}\.json was changed since\): run 'realm-edge data"):
            run.require("data")
        path.unlink()
        if name == "data.request":
            run.complete("data", [out], {})


STRANGE = {
    "FIFO": os.mkfifo,
    "directory": Path.mkdir,
    "what has no end": lambda path: path.symlink_to("/dev/zero"),
    "no JSON": lambda path: path.write_text("]["),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("names", [("data",), ("data.request",), ("data", "data.request")], ids=" ".join)
def test_records_and_requests_that_are_none_are_performed_anew(tmp_path, kind, names):
    def made(run, progress):
        run.file("made").write_text("x")
        run.complete("data", [run.file("made")], {"done": True})
        return {"done": True}

    wanted = {"recordings": [["monday.npz", "abc"]]}
    work = Workflow(RunDir.create(tmp_path / "run", Settings()), Silent(), lambda verb: made)
    work.resume("data", request=wanted)
    for name in names:
        path = work.run.file("stages", f"{name}.json")
        path.unlink()
        STRANGE[kind](path)
    what = "record" if "data" in names else "request"
    assert work.run.fault("data") == f"stale (its {what} stages/{names[0]}.json was changed since)"
    assert work.resume("data", request=wanted) == {"done": True}
    assert work.run.is_complete("data") and work.run.requested("data") == wanted


def test_a_file_in_the_place_of_the_records_names_itself(tmp_path):
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "stages").write_text("")
    for opens in (RunDir.open, lambda path: RunDir.create(path, Settings())):
        with pytest.raises(UserError, match="stages: a file, where a run keeps the records of its stages: move it away"):
            opens(tmp_path)


def test_a_link_to_nothing_in_the_place_of_the_records_names_itself(tmp_path):
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "stages").symlink_to("gone")
    with pytest.raises(UserError, match="stages: a file, where a run keeps the records of its stages: move it away"):
        RunDir.open(tmp_path)


@pytest.mark.parametrize("name", ["data", "firmware", "report.html", "train.partial/x.safetensors"])
def test_a_link_that_leads_out_of_a_run_is_refused_and_one_within_it_is_followed(run: RunDir, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    run.file(name).parent.mkdir(exist_ok=True)
    run.file("notes").symlink_to(tmp_path / "elsewhere")  # the user's own: no run writes there
    run.file("train.partial").mkdir(exist_ok=True)
    run.file("train.partial", "same").symlink_to("../config.toml")
    RunDir.open(run.path)
    shutil.rmtree(run.file(name), ignore_errors=True)
    run.file(name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"{name}: a link that leads out of the run: put what it names in its place, or choose"):
        RunDir.open(run.path)


@pytest.mark.parametrize("stranger", ["notes.txt", "figures", "stages/mine.csv", "stages/of_a_play.json"])
def test_fresh_removes_nothing_that_no_run_writes(run: RunDir, stranger: str) -> None:
    """Another project's folder may hold config.toml and stages/ as well."""
    (run.path / stranger).mkdir() if stranger == "figures" else (run.path / stranger).write_text("mine")
    before = sorted(run.path.rglob("*"))
    with pytest.raises(UserError, match=f"--fresh would remove '{stranger}', which no run writes: move it away"):
        RunDir.erase(run.path)
    assert sorted(run.path.rglob("*")) == before


def test_fresh_removes_all_that_a_run_writes(run: RunDir) -> None:
    for name in ("teacher.safetensors", "decoder.int8.onnx", "report.html", "verification.png", ".report.html.partial-1"):
        (run.path / name).write_text("x")
    for name in ("compile.cortex-m4.json", "data.request.json", "simulate.rv32imc.options", "train.timing.json", "data.options"):
        (run.path / "stages" / name).write_text("{}")
    RunDir.erase(run.path)
    assert not list(run.path.iterdir())


def test_what_another_version_made_is_stale_and_says_which(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever package made it, of those that decide the stage; another stage's packages are not its own."""
    here = versions._version
    monkeypatch.setattr(versions, "_version", lambda name: "9.9" if name == "torch" else here(name))
    assert run.fault("train") == f"stale (it was made with torch {here('torch')}, and 9.9 is here)"
    assert run.fault("data") is None
    _perform(run, "train")
    assert run.fault("train") is None and run.made_by("train")["torch"] == "9.9"
    monkeypatch.setattr(versions, "_version", lambda name: "" if name == "scipy" else here(name))
    assert run.fault("data") == f"stale (it was made with scipy {here('scipy')}, and it is not installed here)"
    monkeypatch.setattr(versions, "_version", lambda name: "0.2" if name == "realm-edge" else here(name))
    assert str(run.fault("data")).startswith("stale (it was made with realm-edge ")


def test_a_record_of_an_earlier_version_is_named(run: RunDir) -> None:
    record = run.file("stages", "data.json")
    content = {key: value for key, value in read_json(record).items() if key not in ("format", "made_by", "digest")}
    write_json(record, sealed(content))
    assert run.fault("data") == "stale (its record stages/data.json is of an earlier version of realm-edge)"
