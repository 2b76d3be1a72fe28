"""The verdict stage: what it is asked for, which firmware it counts, and a whole verdict end to end."""

from contextlib import nullcontext
from types import SimpleNamespace

import click
import pytest

from firmware_sim.verdict.candidate import shipped
from realm_edge.app import cli_work
from realm_edge.app.stages import verdict as stage
from realm_edge.app.stages.verdict import Asked
from realm_edge.errors import UserError
from realm_edge.sources import Recordings

SCENARIO = 'title = "LFP, features of 16 bits"\nsignal = "lfp"\nfrontend = "software"\nsends = "features"\nadc_bits = 16\n'


def test_what_is_named_is_looked_at_before_anything_is_made(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text('title = "x"\nsignal = "ecog"\nfrontend = "software"\nsends = "decoded"\n')
    figures = []
    for name in ("sensing.none", "mcu.stop.wakeup"):
        figures.append(tmp_path / f"{name}.toml")
        figures[-1].write_text(f'title = "x"\nsignal = "lfp"\nfrontend = "circuit"\nsends = "decoded"\ncircuit = "{name}"\n')
    (tmp_path / "again").mkdir()
    twice = (tmp_path / "mine.toml", tmp_path / "again" / "mine.toml")
    for path in twice:
        path.write_text(SCENARIO)
    limits = tmp_path / "limits.toml"
    limits.write_text('[latency_ms]\nlimit = 100\nsource = "mine"\n')
    for asked, said in (
        (Asked(links=("tin-can",)), "unknown link 'tin-can'"),
        (Asked(scenarios=(broken,)), "broken.toml: signal: Input should be 'lfp', 'lfp-200', 'sbp' or 'spike'"),
        (Asked(scenarios=(tmp_path / "none.toml",)), "none.toml: no such file"),
        (Asked(scenarios=figures[:1]), "sensing.none.toml: component library: no figure 'sensing.none'"),
        (Asked(scenarios=figures[1:]), "wakeup.toml: component library: 'mcu.stop.wakeup': "),
        (Asked(scenarios=twice), "again/mine.toml: another --scenario has the name 'mine', too"),
        (Asked(budget=limits), "limits.toml: has no limit of power"),
        (Asked(components=tmp_path / "none.toml"), "none.toml: no such file"),
    ):
        with pytest.raises(UserError, match=said):
            asked.check()
    Asked().check()


def test_what_is_asked_is_part_of_what_the_stage_is_made_from(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(SCENARIO)
    asked = Asked(scenarios=(mine,)).request()
    assert asked["channels"] == [32, 96, 256, 1024] and asked["targets"][0] == "cortex-m4"
    mine.write_text(SCENARIO.replace("16 bits", "16 bit"))
    assert Asked(scenarios=(mine,)).request() != asked
    assert Asked(links=()).request() != Asked().request()


def test_a_scenario_of_ones_own_stands_beside_the_products_or_in_the_place_of_one(tmp_path):
    mine, other = tmp_path / "mine.toml", tmp_path / "lfp-software-features.toml"
    for path in (mine, other):
        path.write_text(SCENARIO)
    found = {candidate.name: candidate for candidate in stage.gathered((mine, other))}
    assert set(found) == {*(candidate.name for candidate in shipped()), "mine"}
    assert found["mine"].adc_bits == found["lfp-software-features"].adc_bits == 16


def test_the_runs_own_channels_come_first_and_none_twice():
    assert stage._channels(Asked(channels=(96, 31, 32)), 31) == (31, 96, 32)


def test_samples_are_priced_by_what_the_front_end_in_software_senses():
    kinds = {candidate.name: stage._kind(candidate) for candidate in shipped()}
    assert kinds["lfp-samples"] == kinds["lfp-software-decoded"] == ("lfp", True)
    assert kinds["spike-circuit-decoded"] == ("spike", False)


def test_a_recording_of_features_has_no_verdict_and_nothing_is_trained_for_it(tmp_path, monkeypatch):
    features = {"recordings": [["a.nwb", "0"]], "features": "power"}
    run = SimpleNamespace(path=tmp_path, requested={"data": features}.get, performed=dict, removed=(), settings=None)
    with pytest.raises(UserError, match="hold features: a verdict compares front ends"):
        stage.require_voltage(run)
    stage.require_voltage(SimpleNamespace(path=tmp_path, requested={"data": {}}.get))

    done = []
    work = SimpleNamespace(run=run, resume=lambda name, *_, **__: done.append(name))
    monkeypatch.setattr("realm_edge.app.workflow.open_for_data", lambda *_, **__: nullcontext((run, features)))
    monkeypatch.setattr(cli_work, "workflow_of", lambda run: work)
    monkeypatch.setattr(cli_work, "see_that_it_fits", lambda *_: None)
    with click.Context(click.Command("verdict")), pytest.raises(UserError, match="hold features"):
        cli_work.quantized(tmp_path, None, Recordings(), False, "cpu", "32", see=stage.require_voltage)
    assert done == ["data"]
