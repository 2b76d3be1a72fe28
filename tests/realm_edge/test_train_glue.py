"""Which settings, sessions and phases reach which part of the method, in the train stage and in the arms: nothing is trained."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from realm_edge.app.stages import train
from realm_edge.documents import jsonable, read_document
from realm_edge.evaluation import bench as bench_module
from realm_edge.evaluation import decoders as arms
from realm_edge.evaluation import pretrained
from realm_edge.evaluation.bench import Outcome, facts
from realm_edge.settings import FitSettings, Settings
from realm_edge.training.history import History
from realm_edge.training.loop import Phase
from tests.made_up import TRAIN, VALIDATION, MadeUpRun, session

TINY = {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 8}
SETTINGS = Settings.model_validate(
    {
        "seed": 7, "window_bins": 33, "teacher": TINY | {"d_model": 16}, "student": TINY, "transformer_bins": 4,
        "pretrain": {"epochs": 6, "lr": 0.01}, "distil": {"epochs": 2, "lr": 0.02}, "finetune": {"epochs": 4, "lr": 0.03},
    }
)  # fmt: skip
LOSSES = {"pretrain": (3.0, 2.0), "distil": (5.0, 4.0, 4.5), "finetune": (9.0, 8.0, 7.0, 7.5), "spike_pretrain": (1.0, 0.5)}


def history(name: str) -> History:
    losses = LOSSES[name.replace("spike_finetune", "finetune")]
    return History(losses, losses, tuple(range(1, len(losses) + 1)), tuple(0.5 * k for k in range(1, len(losses) + 1)), True)


@pytest.fixture
def staged(tmp_path, monkeypatch):
    """The train stage with every part of the method replaced by one that notes how it was asked."""
    run = MadeUpRun(tmp_path, SETTINGS)
    run.file("train.partial", "x")
    took: dict[str, Any] = {}
    run.note_seconds = lambda stage, seconds: took.update({stage: seconds})
    calls: list[tuple[str, dict[str, Any]]] = []
    decoded, others = session(), [session("day1", heldout=False), session("day2", heldout=False)]
    monkeypatch.setattr(train, "load_sessions", lambda run: [*others, decoded])

    def pretrain(model, settings, series, window, phase, progress):
        names = [one.name for one in series]
        calls.append(("pretrain", {"model": model, "settings": settings, "series": names, "window": window, "phase": phase}))
        return nn.Linear(3, 4), history("pretrain")

    def distil(teacher, model, settings, series, inputs, window, phase, progress):
        about = {"model": model, "settings": settings, "series": [one.name for one in series], "inputs": inputs}
        calls.append(("distil", about | {"window": window, "phase": phase}))
        return nn.Linear(5, 6), history("distil")

    def finetune(student, settings, series, window, phase, progress):
        calls.append(("finetune", {"settings": settings, "series": [one.name for one in series], "window": window, "phase": phase}))
        return history(phase.name)

    def student(model, inputs, dims, kinds):
        calls.append(("student", {"model": model, "inputs": inputs, "dims": dims, "kinds": kinds}))
        return nn.Linear(7, 8)

    saved = {}
    for name, fake in (("pretrain", pretrain), ("distil", distil), ("finetune", finetune), ("Student", student)):
        monkeypatch.setattr(train, name, fake)
    for name in ("save_teacher", "save_student"):
        monkeypatch.setattr(train, name, lambda path, module, made_from: saved.update({path.name: (module, made_from)}))
    answers = {6: decoded.targets + 0.5, 4: decoded.targets - 1.0}
    monkeypatch.setattr(train, "decode", lambda student, inputs, starts: torch.from_numpy(answers[inputs.shape[1]]))
    metrics = jsonable(train.run(run, SimpleNamespace(say=lambda text: None)))
    return SimpleNamespace(
        calls=calls, metrics=metrics, run=run, saved=saved, took=took, decoded=decoded, answers=answers, ends=(TRAIN, VALIDATION)
    )


def test_every_phase_has_its_own_settings_sessions_and_name(staged):
    asked = [(name, call.get("phase") and call["phase"].name, call.get("settings"), call.get("series")) for name, call in staged.calls]
    others = ["day1", "day2"]
    assert asked == [
        ("pretrain", "pretrain", SETTINGS.pretrain, others),
        ("distil", "distil", SETTINGS.distil, others),
        ("finetune", "finetune", SETTINGS.finetune, ["day3"]),
        ("student", None, None, None),
        ("finetune", "spike_pretrain", SETTINGS.distil, others),
        ("finetune", "spike_finetune", SETTINGS.finetune, ["day3"]),
    ]
    assert [call["model"] for _, call in staged.calls if "model" in call] == [SETTINGS.teacher, SETTINGS.student, SETTINGS.student]
    assert {call["window"] for _, call in staged.calls if "window" in call} == {33}
    assert staged.calls[1][1]["inputs"] == 6 and staged.calls[3][1] == {"model": SETTINGS.student, "inputs": 4, "dims": 2, "kinds": 1}
    for _, call in staged.calls:
        if "phase" in call:
            phase = call["phase"]
            assert (phase.seed, phase.made_from) == (7, "digest of data")
            assert phase.partial == staged.run.file("train.partial", f"{phase.name}.safetensors")


def test_what_is_written_is_of_the_test_part(staged):
    decoded, (train_end, validation_end) = staged.decoded, staged.ends
    arrays = np.load(io.BytesIO(staged.run.file("predictions.npz").read_bytes()), allow_pickle=False)
    assert arrays["bins"].tolist() == list(range(validation_end, decoded.bins))
    np.testing.assert_array_equal(arrays["true"], decoded.targets[validation_end:])
    np.testing.assert_array_equal(arrays["lfp_student"], staged.answers[6][validation_end:])
    np.testing.assert_array_equal(arrays["spike_student"], staged.answers[4][validation_end:])
    metrics = staged.metrics
    assert metrics["bins"] == {"train": train_end, "validation": validation_end - train_end, "test": decoded.bins - validation_end}
    variance = decoded.targets[validation_end:].astype(np.float64).var(axis=0)
    assert metrics["decoders"]["lfp_student"]["r2"] == pytest.approx(np.mean(1 - 0.25 / variance), rel=1e-5)
    assert metrics["decoders"]["spike_student"]["r2"] == pytest.approx(np.mean(1 - 1.0 / variance), rel=1e-5)
    assert metrics == read_document(
        staged.run.file("metrics.json"), "realm-edge metrics/1", dict[str, Any], ""
    ) and staged.run.required == ["data"]


def test_facts_of_the_decoders_are_their_own(staged):
    decoders = staged.metrics["decoders"]
    assert staged.metrics["teacher"] == {"parameters": 3 * 4 + 4, "pretrain": jsonable(history("pretrain").summary())}
    lfp, spike = decoders["lfp_student"], decoders["spike_student"]
    assert (lfp["parameters"], lfp["epochs"]) == (5 * 6 + 6, 3 + 4) and (spike["parameters"], spike["epochs"]) == (7 * 8 + 8, 2 + 4)
    assert lfp["phases"] == {name: jsonable(history(name).summary()) for name in ("distil", "finetune")}
    assert list(spike["phases"]) == ["pretrain", "finetune"] and spike["phases"]["pretrain"] == jsonable(
        history("spike_pretrain").summary()
    )
    made_from = {"settings": SETTINGS.digest(), "data": "lineage of data"}
    assert {name: (module.in_features, made) for name, (module, made) in staged.saved.items()} == {
        "teacher.safetensors": (3, made_from),
        "student.safetensors": (5, made_from),
        "student_spike.safetensors": (7, made_from),
    }
    assert staged.took["train"]["lfp_student"] == {"distil": [0.5, 1.0, 1.5], "finetune": [0.5, 1.0, 1.5, 2.0]}
    assert staged.took["train"]["teacher"] == {"pretrain": [0.5, 1.0]}
    assert [path.name for path in staged.run.completed["train"][0]] == [
        *("teacher.safetensors", "student.safetensors", "metrics.json", "predictions.npz", "student_spike.safetensors")
    ]


def test_wiener_filters_see_the_training_part_and_answer_in_target_units(staged, monkeypatch):
    seen = []

    def fit(inputs, targets, train_end, starts):
        seen.append((inputs.shape[1], train_end))
        return SimpleNamespace(lags=3, alpha=0.1, parameters=44)

    monkeypatch.setattr(train.wiener, "fit", fit)
    monkeypatch.setattr(train.wiener, "predict", lambda fitted, inputs, starts: np.ones((len(inputs), 2), np.float32))
    decoded = staged.decoded
    material = train.gather([decoded], decoded, "counts", 0.04)
    found = train._wiener(SimpleNamespace(progress=SimpleNamespace(say=lambda text: None), bin_s=0.04), material, decoded, "spike_wiener")
    known = decoded.targets[: decoded.train_end].astype(np.float64)
    np.testing.assert_allclose(found.predicted, np.tile(known.mean(axis=0) + known.std(axis=0), (decoded.bins, 1)), rtol=1e-5)
    assert seen == [(4, decoded.train_end)] and (found.scores.parameters, found.scores.lags, found.scores.alpha) == (44, 3, 0.1)


# --- arms of the comparison -------------------------------------------------------------------------------------------------------------


class MadeUpBench(bench_module.Bench):
    """Without files: what is kept is named by its phase."""

    def once(self, name, uses, **more):
        from contextlib import nullcontext

        return nullcontext(Phase(f"once {name}", self.seed, made_from=",".join(uses)))


@pytest.fixture
def asked(monkeypatch):
    calls: list[tuple] = []

    def pretrain(model, settings, series, window, phase, progress):
        calls.append(("pretrain", phase.name, settings, [one.name for one in series], model))
        return "teacher", history("pretrain")

    def distil(teacher, model, settings, series, inputs, window, phase, progress):
        calls.append(("distil", phase.name, settings, [one.name for one in series], model))
        return "distilled", history("distil")

    def finetune(student, settings, series, window, phase, progress):
        calls.append(("finetune", phase.name, settings, [one.name for one in series], student))
        return history("finetune")

    def scratch(model, settings, series, inputs, window, phase, progress):
        calls.append(("scratch", phase.name, settings, [one.name for one in series], model))
        return "from scratch", history("finetune")

    def autoencode(model, settings, series, window, phase, progress):
        calls.append(("autoencode", phase.name, settings, [one.name for one in series], model))
        return "autoencoded", history("pretrain")

    class Baseline:
        def macs_per_step(self):
            return 66

        def predict(self, series):
            return f"decoded {series.name}"

        def modules(self):
            return []

        def parameters(self):
            return iter([torch.zeros(55)])

    def baseline(decoder, settings, series, window, phase, progress):
        calls.append(("train", phase.name, settings, [one.name for one in series], None))
        return history("finetune")

    def of_student(bench, student, history, before):
        return Outcome(student, 1, 2, history.seconds, before, history)

    def recurrent(kind, size, inputs, dims, phase):
        built.append((kind, size, inputs, dims, phase.name))
        return Baseline()

    def transformer(size, layers, context, inputs, dims, phase):
        built.append(("transformer", size, layers, context))
        return Baseline()

    built: list[tuple] = []
    for module, name, fake in (
        (pretrained, "pretrain", pretrain), (pretrained, "distil", distil), (pretrained, "finetune", finetune),
        (pretrained, "of_student", of_student), (pretrained, "train", baseline), (pretrained.scratch, "fit", scratch),
        (pretrained.autoencoded, "fit", autoencode), (arms, "train", baseline), (arms.recurrent, "build", recurrent),
        (arms.transformer, "build", transformer),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, fake)
    return calls, built


@pytest.fixture
def made_up_bench(tmp_path):
    from realm_edge.training.material import gather

    decoded = session()
    narrow = session("narrow", heldout=False, features=session().features[:, :4])
    material = gather([session("day1", heldout=False), narrow, decoded], decoded, "features", 0.04)
    return MadeUpBench(SETTINGS, material, 33, 5, tmp_path, {})


def test_arms_learn_from_the_sessions_and_with_the_settings_that_are_theirs(asked, made_up_bench):
    calls, _ = asked
    pre, dis, fine = SETTINGS.pretrain, SETTINGS.distil, SETTINGS.finetune
    others, own = ["day1", "narrow"], ["day3"]
    expected = {
        "student": [
            ("pretrain", "once pretrain", pre, others),
            ("distil", "once distil", dis, others),
            ("finetune", "finetune", fine, own),
        ],
        "supervised": [("scratch", "once supervised", dis, others), ("finetune", "finetune", fine, own)],
        "autoencoded": [("autoencode", "once autoencode", pre, ["day1"]), ("finetune", "finetune", fine, own)],
        "scratch": [("scratch", "scratch", fine, own)],
        "gru": [("train", "gru", fine, own)],
        "gru_pretrained": [("train", "once gru_pretrained", dis, ["day1"]), ("train", "gru", fine, own)],
    }
    for name, wanted in expected.items():
        calls.clear()
        outcome = arms.ALL[name].fit(made_up_bench)
        assert [call[:4] for call in calls] == wanted, name
        assert outcome.seconds == history("finetune").seconds and outcome.history == history("finetune")
    before = arms.ALL["student"].fit(made_up_bench).pretraining
    assert before == {"pretrain": facts(history("pretrain"), pre), "distil": facts(history("distil"), dis)}
    assert calls[-2][4] == SETTINGS.student


def test_baselines_have_the_students_size_or_twice_that(asked, made_up_bench):
    _, built = asked
    size = made_up_bench.student_parameters
    for name in ("gru", "lstm", "gru_x2", "transformer", "transformer_x2"):
        arms.ALL[name].fit(made_up_bench)
    assert built == [
        ("gru", size, 6, 2, "gru"),
        ("lstm", size, 6, 2, "lstm"),
        ("gru", 2 * size, 6, 2, "gru"),
        ("transformer", size, 1, 4),
        ("transformer", 2 * size, 1, 4),
    ]
    outcome = arms.ALL["gru"].fit(made_up_bench)
    assert (outcome.predicted, outcome.parameters, outcome.macs_per_step) == ("decoded day3", 55, 66)


def test_facts_of_a_phase():
    early = facts(history("distil"), FitSettings(epochs=4, lr=1e-3))
    assert jsonable(early) == {"epochs": 3, "steps": 6, "seconds": 3.0, "stopped_early": True}
    assert facts(history("distil"), FitSettings(epochs=3, lr=1e-3)).stopped_early is False


def test_arms_decode_what_their_name_says():
    inputs = {name: arm.inputs for name, arm in arms.ALL.items()}
    assert {name for name, kind in inputs.items() if kind == "counts"} == {name for name in inputs if name.startswith("spike_")}
    assert {name for name, arm in arms.ALL.items() if arm.chance} == {"null"}
    assert {name for name, arm in arms.ALL.items() if arm.needs_others} == {
        "supervised", "gru_pretrained", "transformer_pretrained", "wiener_pretrained",
    }  # fmt: skip
