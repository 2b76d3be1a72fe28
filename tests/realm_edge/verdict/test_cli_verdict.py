"""The command ``verdict``: its options, its status, and one run of it that applies a hint and resumes."""

import json

import pytest
from click.testing import CliRunner

from realm_edge.app import cli, cli_verdict
from realm_edge.app.verdict.form import Hint
from realm_edge.errors import UserError
from tests.realm_edge.verdict.verdicts import made_up

SETTINGS = """
bin_ms = 20
window_bins = 60
[synthetic]
version = 2
sessions = 2
seconds = 20.0
heldout_seconds = 30.0
channels = 6
units = 4
[teacher]
d_model = 16
n_layer = 1
d_state = 8
headdim = 16
[student]
d_model = 16
n_layer = 1
d_state = 8
headdim = 16
[pretrain]
epochs = 2
lr = 0.003
[distil]
epochs = 2
lr = 0.005
[finetune]
epochs = 2
lr = 0.002
"""
# Not of R2: no hint says what would help a decoder that has learnt next to nothing.
BUDGETS = '[power_uw]\nlimit = 17241\nsource = "a test"\n[latency_ms]\nlimit = 100\nsource = "a test"\n'


def test_numbers_of_channels_are_read_and_bounded():
    assert cli_verdict._numbers("32,256") == cli_verdict._numbers("32,256,32") == (32, 256)
    for text, said in (("32,none", "--channels none"), ("0", "--channels 0"), ("2048", "--channels 2048"), ("", "--channels ''")):
        with pytest.raises(UserError, match=said):
            cli_verdict._numbers(text)


def test_a_hint_that_was_not_given_is_refused_with_those_that_were():
    found = made_up(channels=(32,), hints=(Hint(name="fewer-bands", text="", changes={}),))
    assert cli_verdict._chosen(found, "fewer-bands").name == "fewer-bands"
    with pytest.raises(UserError, match="--apply more-bands: no such hint: use one of fewer-bands"):
        cli_verdict._chosen(found, "more-bands")
    with pytest.raises(UserError, match="the verdict gives none"):
        cli_verdict._chosen(made_up(channels=(32,), hints=()), "fewer-bands")


@pytest.mark.parametrize(
    ("state", "nominal", "holds"), [("holds", False, True), ("holds only nominally", False, False), ("holds only nominally", True, True)]
)
def test_a_winner_that_holds_only_nominally_is_no_success_unless_that_is_enough(state, nominal, holds):
    found = made_up(channels=(32,), parts=("cortex-m4",))
    table = found.tables[0]
    rows = tuple(row.model_copy(update={"state": state}) if row.scenario == table.winner else row for row in table.rows)
    found = found.model_copy(update={"tables": (table.model_copy(update={"rows": rows}),)})
    assert cli_verdict._holds(found, nominal) == holds


def test_without_a_winner_nothing_holds():
    found = made_up(channels=(32,), parts=("cortex-m4",))
    found = found.model_copy(update={"tables": (found.tables[0].model_copy(update={"winner": None}),)})
    assert not cli_verdict._holds(found, nominal=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # nine trainings and their firmware: minutes on idle cores
def test_a_verdict_end_to_end_resumes_and_shows_what_a_hint_does(tmp_path):
    """The first verdict makes all; the second nothing; a hint's run has its own, and Ctrl-C would have lost none of what was counted."""
    config, budget, out = tmp_path / "tiny.toml", tmp_path / "budget.toml", tmp_path / "run"
    config.write_text(SETTINGS)
    budget.write_text(BUDGETS)
    made = ["verdict", "--config", str(config), "--budget", str(budget), "--out", str(out)]
    command = [*made, "--target", "cortex-m4", "--channels", "6,12", "--link", "uwb"]
    first = CliRunner().invoke(cli.main, [*command, "--json"])
    assert first.exit_code in (0, 1), first.output
    found = json.loads(first.stdout)
    assert json.loads((out / "verdict.json").read_text())["answer"] == found["answer"]
    assert found["answer"] == f"{found['tables'][0]['sentence']} {found['tables'][0]['lfp_sentence']}"
    assert [(table["channels"], table["target"], table["link"]) for table in found["tables"]] == [
        (6, "cortex-m4", "ble-nrf52840"),
        (12, "cortex-m4", "ble-nrf52840"),
    ]
    assert {cell["link"] for cell in found["map"]} == {"ble-nrf52840", "uwb"} and len(found["map"]) == 4
    accuracies = {each["signal"]: each["r2_int8"] for each in found["accuracies"]}
    assert set(accuracies) == {"lfp", "lfp-200", "sbp", "spike"} and None not in accuracies.values()
    rows = {row["scenario"]: row for row in found["tables"][0]["rows"]}
    assert len(rows) == 18 and all(row["r2"] == accuracies[row["signal"]] for row in rows.values())
    assert "equal to onnxruntime" in rows["sbp-software-decoded"]["firmware"]
    simulated = json.loads((out / "simulation" / "cortex-m4.json").read_text())["streams"]["lfp"]
    assert rows["lfp-software-decoded"]["power_uw"] == pytest.approx(simulated["power_uw"]["total"], rel=0.02)  # other samples, same model
    assert (out / "verdict.html").read_text().startswith("<!DOCTYPE html>")

    counted = {path: path.stat().st_mtime_ns for path in (out / "verdict").rglob("*") if path.is_file()}
    again = CliRunner().invoke(cli.main, command)
    assert "[verdict] complete, skipped" in again.stderr and again.exit_code == first.exit_code
    assert {path: path.stat().st_mtime_ns for path in counted} == counted
    assert again.stdout.splitlines()[0] == found["answer"]

    name = found["hints"][0]["name"]
    applied = CliRunner().invoke(cli.main, [*command, "--apply", name])
    assert applied.exit_code in (0, 1), applied.output
    beside = json.loads((out / "hints" / name / "verdict.json").read_text())
    assert beside["answer"] in applied.stdout and found["answer"] in applied.stdout
    assert CliRunner().invoke(cli.main, [*command, "--fresh", "--apply", "none"]).exit_code == 2
    assert not (out / "hints").exists()
