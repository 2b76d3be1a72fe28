"""The train stage on sessions of a few seconds: files, scores that can be recomputed from them, one recording, interruption."""

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from realm_edge import session as sessions
from realm_edge import settings as settings_module
from realm_edge.app.lock import LOCK
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages import train
from realm_edge.app.stages.data import INDEX
from realm_edge.app.summaries import Metrics
from realm_edge.checkpoint import load_student, load_teacher, read_tensors
from realm_edge.documents import jsonable, read_document, write_document
from realm_edge.errors import UserError
from realm_edge.metrics import accuracy
from realm_edge.models.student import decode
from realm_edge.progress import Silent
from realm_edge.session import Session
from realm_edge.training.material import ONE_RECORDING

TINY = {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 8}
FIT = {"epochs": 3, "lr": 1e-2, "batch": 4}
SETTINGS = settings_module.Settings.model_validate(
    {"window_bins": 40, "teacher": TINY, "student": TINY, "pretrain": FIT, "distil": FIT, "finetune": FIT}
)


def session(name, seed, heldout=False, n_features=6, with_counts=True):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((400, n_features)).astype(np.float32)
    targets = np.stack([features[:, 0] + 5, features[:, 1] * 3], axis=1)
    return Session(
        name=name, heldout=heldout, synthetic=True, targets=targets, target_names=("x", "y"), target_unit="cm/s", train_end=280,
        validation_end=330, lfp=None, good_channels=np.ones(n_features // 3, bool), features=features,
        counts=rng.poisson(1.0, (400, 5)).astype(np.float32) if with_counts else None, spike_source="units" if with_counts else "none",
        spike_threshold=None, broadband=None,
    )  # fmt: skip


def make_run(path, *recorded, settings=SETTINGS):
    run = RunDir.create(path, settings)
    files = [run.file("data", f"{one.name}.npz") for one in recorded]
    for one, file in zip(recorded, files, strict=True):
        sessions.save(one, file)
    write_document(run.file("data", "index.json"), INDEX, {"sessions": [file.name for file in files], "heldout": recorded[-1].name})
    run.complete("data", [run.file("data", "index.json"), *files], {})
    return run


class StopsIn(Silent):
    """Interrupts one phase after its first epoch."""

    def __init__(self, phase):
        self.phase = phase

    def track(self, items, description, total=None):
        for count, item in enumerate(items):
            if description == self.phase and count == 1:
                raise KeyboardInterrupt
            yield item


def tensors(run):
    return {name: load_student(run.file(name)).state_dict() for name in ("student.safetensors", "student_spike.safetensors")}


def test_scores_follow_from_the_files(tmp_path):
    heldout = session("c", 0, heldout=True)
    run = make_run(tmp_path / "run", session("a", 1), session("b", 2, n_features=3), heldout)
    metrics = train.run(run, Silent())
    assert run.is_complete("train") and run.summary("train") == metrics
    assert read_document(run.file("metrics.json"), "realm-edge metrics/1", Metrics, "") == metrics
    metrics = jsonable(metrics)
    assert set(metrics["decoders"]) == {"lfp_student", "lfp_wiener", "spike_student", "spike_wiener"}
    assert metrics["pretraining"]["lfp"] == {"sessions": ["a", "b"], "left_out": [], "note": None}
    assert metrics["synthetic"] is True and metrics["bins"] == {"train": 280, "validation": 50, "test": 70}
    assert metrics["decoders"]["lfp_wiener"]["r2"] > 0.99  # the behaviour is a feature
    teacher = load_teacher(run.file("teacher.safetensors"))
    assert teacher.settings == SETTINGS.teacher and set(teacher.tokenizers) == {"3", "6"}  # an input layer for each array

    arrays = np.load(io.BytesIO(run.file("predictions.npz").read_bytes()), allow_pickle=False)
    assert arrays["bins"].tolist() == list(range(330, 400))
    np.testing.assert_array_equal(arrays["true"], heldout.targets[330:])
    for name, facts in metrics["decoders"].items():
        assert jsonable(accuracy(arrays["true"], arrays[name]).scores(("x", "y"))).items() <= facts.items()
    student = load_student(run.file("student.safetensors"))
    np.testing.assert_allclose(decode(student, torch.from_numpy(heldout.features))[330:], arrays["lfp_student"], atol=1e-5)
    assert not run.file("train.partial").exists()


def test_a_session_with_pauses_is_decoded_segment_by_segment(tmp_path):
    heldout = replace(session("c", 0, heldout=True), starts=np.array([0, 100, 340, 390]))
    run = make_run(tmp_path / "run", session("a", 1), heldout)
    metrics = jsonable(train.run(run, Silent()))
    assert metrics["segments"] == 4
    assert all(facts["bins_with_history"] == 10 + 1 and facts["bins"] == 70 for facts in metrics["decoders"].values())
    arrays = np.load(io.BytesIO(run.file("predictions.npz").read_bytes()), allow_pickle=False)
    alone = decode(load_student(run.file("student.safetensors")), torch.from_numpy(heldout.features[340:390]))
    np.testing.assert_allclose(arrays["lfp_student"][10:60], alone, atol=1e-5)


def test_one_recording_pretrains_on_its_own_training_part(tmp_path):
    alone = session("only", 0, heldout=True, with_counts=False)
    run = make_run(tmp_path / "run", alone)
    run.file("student_spike.safetensors").write_bytes(b"of an earlier recording")
    metrics = jsonable(train.run(run, Silent()))
    assert metrics["pretraining"] == {"lfp": {"sessions": [], "left_out": [], "note": ONE_RECORDING}}
    assert set(metrics["decoders"]) == {"lfp_student", "lfp_wiener"}
    assert not run.file("student_spike.safetensors").exists()

    changed = replace(alone, features=alone.features.copy(), targets=alone.targets.copy())
    changed.features[330:], changed.targets[330:] = -3.0 * changed.features[330:], changed.targets[330:][::-1]
    other = make_run(tmp_path / "other", changed)
    train.run(other, Silent())
    first, second = (load_student(each.file("student.safetensors")).state_dict() for each in (run, other))
    assert all(torch.equal(first[name], second[name]) for name in first)  # nothing of the test part reached the weights


@pytest.mark.parametrize("phase", ["pretrain", "distil", "finetune", "spike_pretrain", "spike_finetune"])
def test_an_interrupted_stage_continues_to_the_same_weights(tmp_path, phase):
    recorded = session("a", 1), session("c", 0, heldout=True)
    whole = make_run(tmp_path / "whole", *recorded)
    train.run(whole, Silent())
    broken = make_run(tmp_path / "broken", *recorded)
    with pytest.raises(KeyboardInterrupt):
        train.run(broken, StopsIn(phase))
    assert not broken.is_complete("train") and broken.file("train.partial", f"{phase}.safetensors").exists()
    train.run(broken, Silent())
    for name, expected in tensors(whole).items():
        assert all(torch.equal(tensors(broken)[name][key], value) for key, value in expected.items()), name


def phases_of(metrics):
    """The curves of every fit of a run."""
    fits = {"pretrain": metrics["teacher"]["pretrain"]}
    for decoder in ("lfp_student", "spike_student"):
        fits |= {f"{decoder}, {name}": fit for name, fit in metrics["decoders"][decoder]["phases"].items()}
    return fits


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_train_what_one_does(tmp_path, processes):
    """Started by torchrun; without dropout, which differs. Batches of 1 leave processes without a window, those of 3 share unevenly."""
    fits = {name: FIT | {"dropout": 0.0, "batch": batch} for name, batch in (("pretrain", 3), ("distil", 3), ("finetune", 1))}
    settings = settings_module.Settings.model_validate(SETTINGS.model_dump() | fits)
    other = session("a", 1)
    other.targets[30:100] = np.nan  # so that windows differ in how much of the behaviour is known
    # A batch of one array leaves the input layer of the other without a gradient.
    recorded = other, session("b", 2, n_features=3), session("c", 0, heldout=True)
    alone = make_run(tmp_path / "alone", *recorded, settings=settings)
    expected = jsonable(train.run(alone, Silent()))
    both = make_run(tmp_path / "both", *recorded, settings=settings)
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [*started, "-m", "realm_edge", "train", "--device", "cpu", "--out", str(both.path), "--json"]
    root, environment = Path(__file__).parents[2], {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=environment)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)  # one of them speaks
    assert both.is_complete("train") and jsonable(both.summary("train")) == metrics
    assert metrics["machine"] == expected["machine"] | {"processes": processes}
    for name, wanted in tensors(alone).items():
        for key, value in wanted.items():
            torch.testing.assert_close(tensors(both)[name][key], value, rtol=0, atol=1e-4, msg=f"{name}: {key}")
    for name, got, wanted in zip(phases_of(expected), phases_of(metrics).values(), phases_of(expected).values(), strict=True):
        apart = {curve: np.max(np.abs(np.divide(got[curve], wanted[curve]) - 1)) for curve in ("train_loss", "validation_loss")}
        print(f"{processes} processes, {name}: " + ", ".join(f"{curve} {value:.1e} of one's" for curve, value in apart.items()))
        assert max(apart.values()) < 1e-5, name
    curves = [{folder.name: len(list(folder.iterdir())) for folder in run.file("tensorboard").iterdir()} for run in (both, alone)]
    assert curves[0] == curves[1] and set(curves[0].values()) == {1}


@pytest.mark.slow
def test_sigterm_ends_all_that_torchrun_started_and_the_same_command_goes_on(tmp_path):
    fits = {name: FIT | {"epochs": epochs, "patience": epochs} for name, epochs in (("pretrain", 5000), ("distil", 1), ("finetune", 1))}
    run = make_run(
        tmp_path / "run",
        session("a", 1),
        session("c", 0, heldout=True),
        settings=settings_module.Settings.model_validate(SETTINGS.model_dump() | fits),
    )
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*started, "-m", "realm_edge", "train", "--device", "cpu", "--out", str(run.path)]
    root, partial = Path(__file__).parents[2], run.file("train.partial", "pretrain.safetensors")

    def processes() -> list[str]:
        lines = [path.read_bytes().split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline")]
        return [str(line) for line in lines if b"realm_edge" in line and str(run.path).encode() in line]

    agent = subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": "."}, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not partial.exists():
        assert time.monotonic() < until and agent.poll() is None
        time.sleep(0.1)
    assert len(processes()) == 3
    assert run.file(LOCK).read_text()  # the first process holds it for both
    agent.terminate()
    said = agent.communicate(timeout=60)[1]
    assert said.count("realm-edge: interrupted by SIGTERM: what is finished is kept, and the same command goes on from there") == 2
    assert agent.returncode != 0 and processes() == [] and run.file(LOCK).read_bytes() == b""
    before = read_tensors(partial)[0]["history"]["train_loss"]
    again = subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": "."}, stderr=subprocess.PIPE, text=True)
    while len(after := read_tensors(partial)[0]["history"]["train_loss"]) <= len(before):
        assert time.monotonic() < until + 120 and again.poll() is None
        time.sleep(0.1)
    again.terminate()
    again.communicate(timeout=60)
    assert after[: len(before)] == before  # it did not start over


def test_refuses_missing_data_and_a_session_without_lfp(tmp_path):
    with pytest.raises(UserError, match="run 'realm-edge data"):
        train.run(RunDir.create(tmp_path / "empty", SETTINGS), Silent())
    run = make_run(tmp_path / "run", replace(session("mute", 0, heldout=True), features=None))
    with pytest.raises(UserError, match="mute: no LFP"):
        train.run(run, Silent())
