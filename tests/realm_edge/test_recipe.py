"""REALM's recipe piece by piece: what is copied, what stays, what is rebuilt, what ridge reads, and what does not go together."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from realm_edge.baselines.cost import parameters
from realm_edge.errors import UserError
from realm_edge.evaluation import pretrained
from realm_edge.evaluation.studies import STUDIES
from realm_edge.metrics import accuracy
from realm_edge.models.student import Student, decode, represent
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Silent
from realm_edge.settings import PRESETS, REALM_RECIPE, DistilSettings, FitSettings, ModelSettings, Settings, changed
from realm_edge.training import distil as distil_module
from realm_edge.training.arrays import SharedStudent
from realm_edge.training.distil import REBUILT, Distillation, distil, tokenizer_kept
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import Phase
from realm_edge.training.segments import Batch, Series

MODEL = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8)
PHASE = Phase("test", 0)
WINDOW, TRAIN, VALIDATION, BINS = 50, 500, 600, 800
TOKENIZERS = pytest.mark.parametrize("tokenizer", ["linear", "channel"])
COPIED = DistilSettings(epochs=1, lr=1e-3, batch=4, **REALM_RECIPE["distil"])


def series(n: int = 4, seed: int = 0, kinds: int = 1) -> Series:
    """The behaviour is a leaky sum of the first input."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((BINS, n)).astype(np.float32)
    y = np.zeros((BINS, 1), np.float32)
    for at in range(1, BINS):
        y[at] = 0.7 * y[at - 1] + 0.7 * x[at, 0]
    statistics = torch.full((n,), 5.0), torch.full((n,), 0.5), torch.tensor([20.0]), torch.tensor([3.0])
    return Series(f"s{seed}", torch.from_numpy(x), torch.from_numpy(y), TRAIN, VALIDATION, *statistics, kinds=kinds)


def distilled(settings: DistilSettings, tokenizer: str = "linear", arrays=(4, 6), n_features: int = 4) -> tuple[Teacher, Student]:
    model = MODEL.model_copy(update={"tokenizer": tokenizer})
    torch.manual_seed(0)
    teacher = Teacher(model, arrays, kinds=2)
    torch.nn.init.normal_(teacher.token_norm.weight)  # not as every norm begins
    sessions = [series(n, seed=n, kinds=2) for n in arrays]
    return teacher, distil(teacher, model, settings, sessions, n_features, WINDOW, PHASE, Silent())[0]


def layers(model: Student | Teacher, n: int) -> dict[str, torch.Tensor]:
    input_layer = model.tokenizer if isinstance(model, Student) else model.tokenizers[str(n)]
    parts = {"maps": model.maps, "norm": model.token_norm, "input": input_layer}
    return {f"{part}.{name}": value.clone() for part, module in parts.items() for name, value in module.state_dict().items()}


@TOKENIZERS
def test_the_students_tokenizer_starts_as_the_teachers_and_distillation_trains_it(monkeypatch, tokenizer):
    begun: list[dict[str, torch.Tensor]] = []
    fit = distil_module.fit

    def watched(module, *about):
        shared = module.shared
        begun.append(
            layers(shared.student, 4) | {f"other.{name}": each.clone() for name, each in shared.tokenizers["6"].state_dict().items()}
        )
        return fit(module, *about)

    monkeypatch.setattr(distil_module, "fit", watched)
    teacher, student = distilled(COPIED, tokenizer)
    expected = layers(teacher, 4) | {f"other.{name}": each for name, each in teacher.tokenizers["6"].state_dict().items()}
    assert begun[0].keys() == expected.keys() and len(expected) == (6 if tokenizer == "linear" else 9)
    assert all(torch.equal(begun[0][name], value) for name, value in expected.items())
    after = layers(student, 4)
    assert not any(torch.equal(after[name], expected[name]) for name in ("input.weight", "norm.weight"))
    distilled(COPIED.model_copy(update={"tokenizer": "own"}), tokenizer)
    assert not torch.equal(begun[1]["input.weight"], expected["input.weight"])


@TOKENIZERS
def test_fine_tuning_leaves_a_copied_tokenizer_alone(tokenizer):
    tune = FitSettings(epochs=1, lr=1e-2, batch=4)
    for settings, moves in ((COPIED, False), (COPIED.model_copy(update={"tokenizer": "own"}), True)):
        _, student = distilled(settings, tokenizer)
        before, head = layers(student, 4), student.head.weight.clone()
        with tokenizer_kept(student, settings):
            finetune(student, tune, [series(4, seed=9, kinds=2)], WINDOW, PHASE, Silent())
        after = layers(student, 4)
        assert {not torch.equal(after[name], before[name]) for name in before} == {moves}
        assert not torch.equal(student.head.weight, head) and all(each.requires_grad for each in student.parameters())


def test_without_labels_nothing_of_the_behaviour_reaches_the_student():
    torch.manual_seed(0)
    teacher = Teacher(MODEL, [4])
    one = series()
    other = replace(one, targets=one.targets.flip(0) * 3)
    students = [distil(teacher, MODEL, COPIED, [each], 4, WINDOW, PHASE, Silent())[0] for each in (one, other)]
    for name, value in students[0].state_dict().items():
        assert torch.equal(value, students[1].state_dict()[name]), name


def test_two_layers_rebuild_some_bins_of_a_step_and_all_where_they_are_judged(monkeypatch):
    torch.manual_seed(0)
    module = Distillation(SharedStudent(Student(MODEL, 4, 1), [4], 1), [4], 8, two_layers=True)
    head = module.reconstructions["4"]
    assert [type(each).__name__ for each in head] == ["Linear", "GELU", "Linear"] and head[0].weight.shape == (8, 8)
    windows = (each.unflatten(0, (-1, WINDOW)) for each in (series().inputs[:150], series().targets[:150]))
    one = Batch(*windows, lengths=torch.full((3,), WINDOW), weights=torch.ones(3, WINDOW))
    seen, alone = torch.randn(3, WINDOW, 8), DistilSettings(epochs=1, lr=1e-3, w_repr=0.0, w_task=0.0, w_ae=2.0)
    drawn: list[torch.Tensor] = []
    head.register_forward_hook(lambda module, given, made: drawn.append(given[0]))
    losses = [float(module.train().loss(one, seen, alone).detach()) for _ in range(2)]
    assert [len(each) for each in drawn] == [math.ceil(REBUILT * 150)] * 2 and not torch.equal(*drawn)
    with torch.no_grad():
        hidden = module.shared.encode(one.inputs)
        whole = float(module.eval().loss(one, seen, alone))
        assert whole == pytest.approx(2 * float((head(hidden) - one.inputs).square().mean()), rel=1e-5)
        rows = [int((hidden.flatten(0, 1) == row).all(dim=1).nonzero()) for row in drawn[0]]
        own = (head(drawn[0]) - one.inputs.flatten(0, 1)[rows]).square().mean()
    assert len(set(rows)) == len(rows) and losses[0] == pytest.approx(2 * float(own), rel=1e-5)  # each against its own bin


def test_ridge_on_the_student_reads_its_final_norm_and_the_labels_of_the_training_part_alone(monkeypatch):
    monkeypatch.setattr(pretrained, "_same_array", lambda bench: None)

    def decoded(one: Series) -> np.ndarray:
        torch.manual_seed(0)
        made = Student(MODEL, 4, 1)
        size = parameters(made) - parameters(made.head)
        monkeypatch.setattr(pretrained, "_distilled", lambda bench, model, settings: (made, {"distil": "so long"}))
        inputs = (one.inputs / one.input_inv_std + one.input_mean).numpy()
        bench = SimpleNamespace(
            material=SimpleNamespace(decoded=one, inputs=inputs), settings=SimpleNamespace(student=None, distil=None), window=WINDOW
        )
        outcome = pretrained.ridge_on_student(bench)
        assert outcome.parameters == size + 8 * pretrained.RIDGE_FRAMES + 1 and outcome.history is None
        assert outcome.pretraining == {"distil": "so long"}
        with torch.no_grad():
            seen = made.final_norm(made.encode(one.inputs[None], made.initial_state(1))[0][0])
        np.testing.assert_allclose(outcome.predicted, pretrained._ridge(one, seen.numpy())[0], rtol=1e-3, atol=1e-3)
        return outcome.predicted

    one = series()
    plain = decoded(one)
    spoiled = replace(one, targets=one.targets.clone(), inputs=one.inputs.clone())
    spoiled.targets[TRAIN:], spoiled.inputs[TRAIN:] = 1e3, 5.0
    np.testing.assert_array_equal(plain[:TRAIN], decoded(spoiled)[:TRAIN])
    units = one.statistics.in_units(one.targets.numpy())
    assert accuracy(units[VALIDATION:], plain[VALIDATION:]).r2[0] > 0.5  # target units


def test_what_a_read_out_sees_is_what_decoding_reads():
    torch.manual_seed(0)
    student, features, starts = Student(MODEL, 4, 1).eval(), torch.randn(300, 4), np.array([0, 90, 100])
    seen = represent(student, features, starts, block_bins=64)
    torch.testing.assert_close(student.decoded(student.head(seen)), decode(student, features, starts))
    assert seen.shape == (300, 8)


def test_a_tokenizer_of_another_size_or_array_cannot_be_copied():
    with pytest.raises(UserError, match=r"distil.tokenizer 'copied': no session that pretrains has the 8 inputs of the decoded one"):
        distilled(COPIED, arrays=(4, 6), n_features=8)
    with pytest.raises(ValueError, match=r"teacher.d_model is 64 and student.d_model 32: make them equal, or use 'own'"):
        changed(Settings(), REALM_RECIPE)
    with pytest.raises(ValueError, match=r"teacher.tokenizer is channel and student.tokenizer linear"):
        changed(PRESETS["realm"], {"student": {"tokenizer": "linear"}})


def test_presets_by_realms_recipe_have_all_of_it_and_ours_nothing():
    plain = Settings()
    for name, settings in PRESETS.items():
        for phase, values in REALM_RECIPE.items():
            for field, value in values.items():
                given = getattr(getattr(settings, phase), field)
                assert given == (value if "realm" in name else getattr(getattr(plain, phase), field)), (name, field)
    realm = PRESETS["realm"].pretrain
    assert (realm.warmup_epochs, realm.warmup_from, realm.schedule, realm.lr) == (30.0, 0.3, "exponential", 1.53e-3)
    assert PRESETS["implant-s-realm"].student == PRESETS["implant-s"].student


def test_the_study_of_the_recipe_changes_one_thing_after_the_other():
    settings = [changed(PRESETS["implant-s"], variant.settings) for variant in STUDIES["recipe"].variants(PRESETS["implant-s"], 2)]
    assert settings[0] == PRESETS["implant-s"]
    assert [each.teacher.d_model for each in settings] == [64, 48, 48, 48]
    assert [each.distil.w_task for each in settings] == [1.0, 1.0, 0.0, 1.0]
    assert settings[2].distil.model_copy(update={"w_task": 1.0}) == settings[3].distil and settings[2].pretrain == settings[3].pretrain
