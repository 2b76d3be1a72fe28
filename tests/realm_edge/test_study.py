"""The studies on sessions of seconds: each runs, resumes, compares what it says, and says synthetic."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge.app import cli
from realm_edge.documents import jsonable, read_document
from realm_edge.errors import UserError
from realm_edge.evaluation import study
from realm_edge.evaluation.studies import STUDIES
from realm_edge.evaluation.summary import SYNTHETIC
from realm_edge.evaluation.sweep import Plan
from realm_edge.evaluation.tasks import tasks
from realm_edge.evaluation.zero_phase import WHOLE_SESSION, ZERO_PHASE, zero_phase_features
from realm_edge.frontend import design, lfp_features
from realm_edge.progress import Silent
from realm_edge.segments import bounds
from realm_edge.settings import PRESETS, SIX_BANDS, Settings, changed
from realm_edge.sources import Recordings
from realm_edge.synthetic import generate
from realm_edge.training.material import gather

TINY = {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 8}
FIT = {"epochs": 2, "lr": 1e-2, "batch": 4}
VALUES = {
    "window_bins": 60, "teacher": TINY, "student": TINY, "pretrain": FIT, "distil": FIT, "finetune": FIT, "transformer_bins": 4,
    "synthetic": {"sessions": 3, "seconds": 22, "heldout_seconds": 22, "channels": 4, "units": 2},
}  # fmt: skip
SETTINGS = Settings.model_validate(VALUES)
QUICK = {
    "noise": ("scratch", "wiener"), "delay": ("wiener",), "pretraining": ("student", "supervised"), "causality": ("wiener", "teacher"),
    "losses": ("student",), "recipe": ("student_ridge",), "targets": ("teacher_ridge",), "rate": ("scratch", "gru"),
    "features": ("wiener",), "front-end": ("wiener",), "spiking-band": ("wiener",), "spike-rate": ("spike_wiener",),
    "hindsight": ("hindsight", "wiener"),
}  # fmt: skip
VARIANTS = {"noise": 4, "delay": 4, "pretraining": 3, "causality": 3, "losses": 6, "recipe": 3, "targets": 4, "rate": 6} | {
    "features": 7,
    "front-end": 2,
    "spiking-band": 3,
    "spike-rate": 3,
    "hindsight": 3,
}


def run(name: str, out: Path, **changes) -> dict:
    plan = Plan(SETTINGS, seeds=2, labels=(1.0,), decoders=QUICK[name], command=f"realm-edge study {name}")
    return jsonable(study.run(name, replace(plan, **changes), out, Silent()))


def shared(out: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in (out / "pretrained").glob("*.safetensors"))


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: tmp_path_factory.mktemp(name) for name in QUICK}


@pytest.mark.parametrize("name", QUICK)
def test_a_study_has_a_row_for_every_variant_and_says_what_it_is(name: str, outs: dict[str, Path]) -> None:
    out = outs[name]
    summary = run(name, out)
    assert read_document(out / "study.json", "realm-edge study/2", dict, "") == summary
    assert len({row["variant"] for row in summary["rows"]}) == VARIANTS[name]
    expected = set(QUICK[name]) | ({"scratch"} if name == "pretraining" else set())
    assert {row["decoder"] for row in summary["rows"]} == expected
    text = (out / "study.md").read_text()
    assert SYNTHETIC in summary["caption"] and SYNTHETIC in text and f"Command: `realm-edge study {name}`" in text
    assert SETTINGS.digest()[:12] in text and STUDIES[name].question in text
    assert SYNTHETIC in (out / "study.svg").read_text() and (out / "study.png").read_bytes().startswith(b"\x89PNG")

    results = [json.loads(path.read_text()) for path in out.glob("*/results/*.json")]
    first = [row for row in summary["rows"] if row["change"] is None]
    assert len(first) == (1 if name == "pretraining" else len(QUICK[name]))
    one = next(row for row in summary["rows"] if row["change"] is not None)
    folder = out / one["variant"].replace(" ", "-").replace(",", "") / "results"
    reference = out / first[0]["variant"].replace(" ", "-").replace(",", "") / "results"
    compared = "scratch" if name == "pretraining" else one["decoder"]
    seeds = range(STUDIES[name].seeds_after, STUDIES[name].seeds_after + 2)
    pair = [
        [score(name, json.loads((where / f"synthetic_heldout.{decoder}.labels100.seed{seed}.json").read_text())) for seed in seeds]
        for where, decoder in ((folder, one["decoder"]), (reference, compared))
    ]
    differences = np.subtract(*pair)
    assert one["change"] == pytest.approx(differences.mean()) and one["change_interval"] is None  # two observations

    before = {path: path.stat().st_mtime_ns for path in out.glob("*/results/*.json")}
    assert run(name, out) == summary and len(before) == len(results)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/results/*.json")}  # nothing was computed again


def score(name: str, result: dict) -> float:
    return min(result["validation_loss"]) if STUDIES[name].validation else result["r2"]


def test_the_rate_is_chosen_without_a_look_at_the_test_part(outs: dict[str, Path]) -> None:
    summary = run("rate", outs["rate"])
    assert not any("r2" in row or "student_gain" in row for row in summary["rows"]) and "R²" not in (outs["rate"] / "study.md").read_text()
    means = {}
    for row in summary["rows"]:
        means.setdefault(row["variant"], []).append(row["validation_loss"])
    best = min(means, key=lambda name: np.mean(means[name]))
    assert f"Best on average over the decoders: {best} ({np.mean(means[best]):.4f})." in summary["caption"]


def test_variants_share_what_does_not_depend_on_them(outs: dict[str, Path]) -> None:
    run("losses", outs["losses"])
    assert shared(outs["losses"]) == ["distil"] * 5 * 2 + ["pretrain"] * 2  # "all terms" are the weights of v1; one teacher a seed
    run("pretraining", outs["pretraining"])
    assert shared(outs["pretraining"]) == ["distil"] * 4 + ["pretrain"] * 4 + ["supervised"] * 4  # one or two sessions, two seeds


def test_the_number_of_sessions_is_nested_and_nearest(outs: dict[str, Path]) -> None:
    run("pretraining", outs["pretraining"])
    sessions = {
        folder: json.loads((outs["pretraining"] / folder / "results" / "synthetic_heldout.student.labels100.seed0.json").read_text())
        for folder in ("1-session", "2-sessions")
    }
    named = {folder: [one[0] for one in result["made_from"]["recordings"]["pretraining"]] for folder, result in sessions.items()}
    assert named == {"1-session": ["synthetic_1"], "2-sessions": ["synthetic_0", "synthetic_1"]}


def test_zero_phase_features_do_not_lag_and_see_the_future() -> None:
    settings = SETTINGS.model_copy(update={"lfp": SIX_BANDS})
    recording, _ = generate(settings, 0)
    good = np.array([True, True, False, True])
    frontend = design(settings, good)
    impulse = np.zeros((4000, 4), np.int16)
    impulse[2000:2010] = 1000
    causal, both = lfp_features(frontend, impulse), zero_phase_features(frontend, impulse)
    assert both.shape == causal.shape and both.dtype == np.float32
    before = slice(90, 100)  # bins of 20 ms before the one that holds the impulse
    assert np.abs(causal[before]).max() == 0 and np.abs(both[before, 4:8]).max() > 1
    alike = zero_phase_features(frontend, recording.lfp)
    assert (alike.reshape(len(alike), -1, 4)[:, :, 2] == 0).all()  # the bad channel
    power = [values[100:, 3 * 4].astype(float) for values in (lfp_features(frontend, recording.lfp), alike)]
    smooth = [np.convolve(values, np.ones(25) / 25, "valid") for values in power]
    assert np.corrcoef(smooth)[0, 1] > 0.7  # the same thing, up to phase


@pytest.mark.parametrize("rate_hz", [1000, 500])  # 20 and 10 samples per bin
def test_zero_phase_filters_run_within_segments(rate_hz: int) -> None:
    settings = changed(SETTINGS, {"lfp": {"rate_hz": rate_hz, "zscore_bins": 4}})
    frontend = design(settings, np.ones(5, bool))
    length, starts = frontend.samples_per_bin, (0, 60, 61, 64)
    lfp = np.random.default_rng(0).integers(-500, 500, (100 * length, 5)).astype(np.int16)
    parts = [zero_phase_features(frontend, lfp[first * length : stop * length]) for first, stop in bounds(starts, 100)]
    together = zero_phase_features(frontend, lfp, starts)
    assert np.isfinite(together).all() and [len(part) for part in parts] == [60, 1, 3, 36]
    np.testing.assert_array_equal(together, np.concatenate(parts))
    assert not np.array_equal(zero_phase_features(frontend, lfp)[64:], together[64:])


def test_statistics_of_the_whole_session_are_only_taken_where_asked() -> None:
    for chain in (ZERO_PHASE, WHOLE_SESSION):
        (task,) = tasks(Recordings(), SETTINGS, 1, Silent(), chain, crossings=False)
        material = gather((*task.others, task.decoded), task.decoded, "features", task.bin_s, task.chain.whole_session)
        end = None if chain.whole_session else task.decoded.train_end
        for series, session in zip((*material.pretraining, material.decoded), (*task.others, task.decoded), strict=True):
            stop = None if chain.whole_session else session.train_end
            np.testing.assert_allclose(series.input_mean, session.features[49:stop].mean(axis=0), rtol=1e-3, atol=1e-3)
        assert (end is None) == chain.whole_session
        assert task.made_from()["chain"] == chain.name


def test_settings_can_be_changed_in_part() -> None:
    other = changed(SETTINGS, {"finetune": {"lr": 0.5}})
    assert other.finetune.lr == 0.5 and other.finetune.epochs == SETTINGS.finetune.epochs and other.distil == SETTINGS.distil


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("stability2", {}, "study stability2: no such study: use one of noise, delay,"),
        ("noise", {"recordings": Recordings((Path("a.nwb"),))}, "study noise: it changes the synthetic recordings: leave --data out"),
        ("causality", {"recordings": Recordings((Path("a.nwb"),), features="power")}, "study causality: it changes the filters"),
        ("pretraining", {"recordings": Recordings((Path("a.nwb"),))}, "study pretraining: 1 session(s) leave nothing to vary"),
        (
            "delay",
            {"settings": changed(SETTINGS, {"bin_ms": 40})},
            "study delay, 100 ms late: output_delay_ms 100 is no multiple of bin_ms 40",
        ),
    ],
)
def test_studies_that_cannot_be_done(name: str, changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        study.run(name, replace(Plan(SETTINGS), labels=(), **changes), tmp_path, Silent())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(
        "window_bins = 60\n[synthetic]\nsessions = 2\nseconds = 22\nheldout_seconds = 22\nchannels = 4\nunits = 2\n"
    )
    given = ["study", "delay", "--config", "tiny.toml", "--seeds", "1", "--decoders", "wiener", "--workers", "1"]
    shown = CliRunner().invoke(cli.main, [*given, "--json"])
    assert shown.exit_code == 0, shown.output
    summary = json.loads(shown.stdout)
    assert summary == read_document(Path("runs/study-delay/study.json"), "realm-edge study/2", dict, "")
    assert summary["command"] == "realm-edge study delay --config tiny.toml --seeds 1 --heldout 1 --decoders wiener"
    assert {row["labels"] for row in summary["rows"]} == {1.0}  # the study's own
    wrong = CliRunner().invoke(cli.main, ["study", "delays"])
    assert wrong.exit_code == 2 and "study delays: no such study" in wrong.stderr
    usage = CliRunner().invoke(cli.main, ["study", "--help"]).stdout
    assert all(re.search(rf"\b{name}\b", usage) for name in STUDIES)


def test_the_presets_front_end_is_the_one_that_studies_compare() -> None:
    before, now = STUDIES["front-end"].variants(Settings(), 1)
    assert changed(SETTINGS, now.settings).lfp == changed(SETTINGS, {"lfp": PRESETS["implant-m"].lfp.model_dump()}).lfp
    assert changed(SETTINGS, before.settings).lfp == SIX_BANDS


def test_lfp_of_version_1_has_no_spiking_band(tmp_path: Path) -> None:
    assert set(STUDIES) == set(QUICK)
    first = changed(SETTINGS, {"synthetic": {"version": 1}})
    with pytest.raises(UserError, match="LFP at 1000 Hz is too slow for a band up to 1000 Hz"):
        study.run("spiking-band", Plan(first, seeds=1, decoders=("wiener",)), tmp_path, Silent())
