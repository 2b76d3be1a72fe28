"""Sessions that stay in their files: training on them is training in memory, to the bit, and memory does not grow with them."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from realm_edge import prepared as prepared_module
from realm_edge.evaluation.cells import Cell, Conditions
from realm_edge.evaluation.tasks import tasks
from realm_edge.progress import Silent
from realm_edge.session import Session, in_memory, load, save, stored
from realm_edge.settings import SIX_BANDS, DistilSettings, FitSettings, ModelSettings, PretrainSettings, Settings
from realm_edge.sources import Recordings
from realm_edge.table import Rows
from realm_edge.training.distil import distil
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import Phase
from realm_edge.training.material import gather
from realm_edge.training.pretrain import pretrain
from realm_edge.training.segments import training_batches, validation_batches

MODEL = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8)
FIT = {"epochs": 2, "lr": 1e-2, "batch": 4}
WINDOW, BIN_S = 40, 0.02


def session(name: str, seed: int, channels: int = 4, **changes) -> Session:
    """Segments, void bins, unknown behaviour and an input that never changes."""
    rng = np.random.default_rng(seed)
    features = rng.normal(3, 2, (600, 3 * channels)).astype(np.float32)
    features[:, 1] = 5.0
    targets = (features[:, [0, 2]] * [2.0, 30.0] + 7.0).astype(np.float32)
    targets[50:60] = np.nan
    valid = np.ones(600, bool)
    valid[300:330] = False
    one = Session(
        name=name, heldout=False, synthetic=True, targets=targets, target_names=("x", "y"), target_unit="cm/s", train_end=450,
        validation_end=600, lfp=np.ones((1200, channels), np.int16), good_channels=np.ones(channels, bool), features=features,
        counts=rng.poisson(1.0, (600, 5)).astype(np.float32), spike_source="units", spike_threshold=None, broadband=None,
        starts=np.array([0, 300, 330]), valid=valid,
    )  # fmt: skip
    return replace(one, **changes)


@pytest.fixture
def files(tmp_path):
    paths = []
    for index, channels in enumerate((4, 2, 4)):
        paths.append(tmp_path / f"day{index}.npz")
        save(session(f"day{index}", index, channels), paths[-1])
    return paths


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_stored_session_is_the_loaded_one_without_what_it_was_made_from(files):
    before = open_files()
    kept, whole = stored(files[0]), load(files[0])
    assert kept.lfp is None and kept.broadband is None and open_files() <= before + 1  # the loaded one's LFP
    for name in ("targets", "features", "counts"):
        assert isinstance(getattr(kept, name), Rows)
        np.testing.assert_array_equal(getattr(in_memory(kept), name), getattr(whole, name))
    assert (kept.name, kept.bins, kept.train_end, kept.target_names) == (whole.name, 600, 450, ("x", "y"))
    sent = pickle.dumps(kept)
    assert len(sent) < 5000  # no array but starts, channels and which bins are void
    np.testing.assert_array_equal(pickle.loads(sent).features[7:9], whole.features[7:9])


def test_what_is_gone_or_replaced_is_not_read(files):
    kept = stored(files[0])
    save(session("day0", 9), files[0])
    with pytest.raises(OSError, match=r"day0\.npz: replaced while it was in use"):
        kept.features[0:1]
    files[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"day0\.npz"):
        kept.targets[0:1]


def trained(others: list[Session], decoded: Session, w_task: float):
    """Weights and curves of all phases."""
    material = gather(others, decoded, "features", BIN_S)
    phases = (Phase(name, 3) for name in ("pretrain", "distil", "finetune"))
    teacher, first = pretrain(MODEL, PretrainSettings(**FIT, block_bins=(3, 9)), material.pretraining, WINDOW, next(phases), Silent())
    settings = DistilSettings(**FIT, w_task=w_task)
    student, second = distil(teacher, MODEL, settings, material.pretraining, material.inputs.shape[1], WINDOW, next(phases), Silent())
    third = finetune(student, FitSettings(**FIT), material.pretraining, WINDOW, next(phases), Silent())
    curves = [(each.train_loss, each.validation_loss) for each in (first, second, third)]
    return {**teacher.state_dict(), **{f"student.{name}": value for name, value in student.state_dict().items()}}, curves


@pytest.mark.parametrize("w_task", [0.0, 1.0])
def test_training_from_files_is_training_from_memory_to_the_bit(files, w_task):
    decoded = load(files[2])
    expected, curves = trained([load(path) for path in files[:2]], decoded, w_task)
    got, same = trained([stored(path) for path in files[:2]], decoded, w_task)
    assert same == curves
    assert got.keys() == expected.keys() and all(torch.equal(got[name], value) for name, value in expected.items())


def test_batches_are_cut_when_they_are_asked_for(files, monkeypatch):
    """A batch of an epoch reads its own windows and no others."""
    (one,) = gather([stored(files[0])], load(files[2]), "features", BIN_S).pretraining
    read = []
    monkeypatch.setattr(type(one.inputs), "__getitem__", lambda self, part: read.append(part) or torch.zeros(part.stop - part.start, 12))
    torch.manual_seed(0)
    drawn, held = training_batches([one], WINDOW, 4), validation_batches([one], WINDOW)
    assert len(drawn) == 3 and not read
    assert drawn[1].inputs.shape == (4, WINDOW, 12) and len(read) == 2 * 4
    assert [len(batch.lengths) for batch in held] == [4]
    assert all(part.stop - part.start <= WINDOW for part in read)


def test_validation_windows_beyond_what_decodes_together_are_more_batches(files, monkeypatch):
    one = gather([stored(files[0])], load(files[2]), "features", BIN_S).pretraining[0]
    (whole,) = validation_batches([one], WINDOW)
    monkeypatch.setattr("realm_edge.training.segments.TOGETHER_BINS", 3 * WINDOW - 1)
    parts = validation_batches([one], WINDOW)
    assert [len(part.lengths) for part in parts] == [2, 2]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)


def test_cells_of_evaluate_are_sent_as_names_of_files_and_give_what_sessions_in_memory_give(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared_module, "cache_folder", lambda: tmp_path / "cache")
    at = np.arange(1500) / 50
    for name in ("a", "b"):
        counts = np.random.default_rng(len(name)).integers(-500, 500, (30_000, 2), dtype=np.int16)
        np.savez(tmp_path / f"{name}.npz", lfp=counts, lfp_rate=1000, behavior=np.sin(at), behavior_times=at)
    recordings = Recordings((tmp_path / "a.npz", tmp_path / "b.npz"))
    fit = {"epochs": 1, "lr": 1e-2, "batch": 4}
    tiny = MODEL.model_dump()
    settings = Settings.model_validate({"window_bins": 40, "lfp": SIX_BANDS.model_dump(), "student": tiny, "distil": fit, "finetune": fit})
    (task,) = tasks(recordings, settings, 1, Silent())
    held = replace(task, decoded=in_memory(task.decoded), others=tuple(in_memory(one) for one in task.others))
    answers = []
    for which, folder in ((task, tmp_path / "stored"), (held, tmp_path / "held")):
        cell = Cell(Conditions(settings, recordings, "", folder, folder), which, "supervised", 1.0, 0)
        sent = pickle.dumps(cell)
        answers.append(pickle.loads(sent).compute())
        assert (len(sent) < 20_000) == (which is task)
    same = ("r2", "r", "validation_loss", "blocks", "steps_by_epoch")
    assert all(getattr(answers[0], name) == getattr(answers[1], name) for name in same)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_sessions():
    """Those in between take 50 MB in their files, and as much again for each copy in memory."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "tests/benchmarks/bench_sessions.py", "--sessions", "4", "--sessions", "24", "--bins", "400"]
    environment = {**os.environ, "PYTHONPATH": ".", "MALLOC_MMAP_THRESHOLD_": "100000"}
    done = subprocess.run([*command, "--inputs", "1599"], capture_output=True, text=True, cwd=root, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    few, many = (line.split() for line in done.stdout.splitlines()[1:])
    assert float(many[1]) - float(few[1]) > 45 and float(many[2]) - float(few[2]) < 20, done.stdout
