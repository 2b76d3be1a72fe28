"""Hindsight: who sees the future labels what has no label, with a weight a bin, and nothing else is touched."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from realm_edge.errors import UserError
from realm_edge.evaluation import decoders as arms
from realm_edge.evaluation.studies import STUDIES, Variant
from realm_edge.evaluation.study import _limited
from realm_edge.evaluation.tasks import Task, with_labels
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Silent
from realm_edge.session import Session
from realm_edge.settings import DistilSettings, FinetuneSettings, FitSettings, ModelSettings, Settings
from realm_edge.training.finetune import finetune
from realm_edge.training.hindsight import Labeller, known, look_back, relabelled, twin
from realm_edge.training.loop import Phase, masked_mse
from realm_edge.training.material import gather
from realm_edge.training.segments import Series, standardise, training_batches

MODEL = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8)
FIT = FitSettings(epochs=25, lr=2e-2, batch=4, patience=25, average=0.9, dropout=0.1)
WINDOW = 50
PHASE = Phase("labels", 0)


def session(seed: int = 0, bins: int = 700, labels: float = 1.0) -> Session:
    """The behaviour is what the features will be in three bins: only who sees the future can tell."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((bins, 4)).astype(np.float32)
    behaviour = np.roll(features[:, :1], -3, axis=0)
    one = Session(
        name=f"s{seed}", heldout=seed == 0, synthetic=True, targets=10 * behaviour + seed, target_names=("x",), target_unit="mm/s",
        train_end=500, validation_end=600, lfp=None, good_channels=np.ones(4, bool), features=features, counts=None,
        spike_source="none", spike_threshold=None, broadband=None, provenance={},
    )  # fmt: skip
    return with_labels(one, labels)


def series(seed: int = 0, labels: float = 1.0) -> Series:
    decoded = session(seed, labels=labels)
    return gather([session(9)], decoded, "features", 0.02, unlabelled=True).decoded


class Answer(nn.Module):
    """Answers with the first feature; dropout of the second makes it the less sure the larger that is."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs: torch.Tensor, starts: object) -> torch.Tensor:
        return inputs[:, :1] + self.dropout(inputs[:, 1:2]) - inputs[:, 1:2]


def labeller() -> Labeller:
    module = Answer()
    return Labeller(module, module, 0.5)


def test_what_has_no_label_in_the_training_part_is_filled_and_all_else_stays() -> None:
    one = series(labels=0.25)
    full = relabelled(labeller(), one, PHASE)
    assert torch.equal(full.targets[:125], one.targets[:125]) and torch.equal(full.targets[500:], one.targets[500:])
    torch.testing.assert_close(full.targets[125:500], one.inputs[125:500, :1])
    assert full.weights is not None and (full.weights[:125] == 1).all() and (full.weights[500:] == 1).all()
    assert torch.equal(full.weights, relabelled(labeller(), one, PHASE).weights)  # equal seeds, equal weights
    assert torch.equal(full.inputs, one.inputs)


def test_a_bin_weighs_the_inverse_of_the_error_that_is_expected_of_its_label() -> None:
    one = series(labels=0.0)
    full = relabelled(labeller(), one, PHASE)
    assert full.weights is not None
    # Dropout of one half turns x into 0 or 2 x: a variance of x squared, of which eight draws give an estimate.
    expected = 0.5 / (0.5 + one.inputs[:600, 1] ** 2)
    assert np.corrcoef(full.weights[:600], expected)[0, 1] > 0.9
    assert full.weights[:600].mean() == pytest.approx(float(expected.mean()), abs=0.05)


def test_without_a_label_the_validation_part_is_filled_too_and_the_test_part_is_not_even_read() -> None:
    one = series(labels=0.0)
    assert not known(one) and torch.isfinite(one.targets[600:]).all()
    full = relabelled(labeller(), one, PHASE)
    assert torch.isfinite(full.targets[:600]).all() and torch.equal(full.targets[600:], one.targets[600:])
    teacher = Teacher(MODEL, [4])
    settings = Settings(distil=DistilSettings(**FIT.model_dump()), finetune=FinetuneSettings(**FIT.model_dump()))
    sees, _ = look_back(teacher, settings, [series(9), one], WINDOW, (PHASE, PHASE), Silent())
    other = one.inputs.clone()
    other[600:] = 5.0
    assert torch.equal(relabelled(sees, replace(one, inputs=other), PHASE).targets[:600], relabelled(sees, one, PHASE).targets[:600])


def test_invalid_bins_get_no_label() -> None:
    valid = np.ones(700, bool)
    valid[200:220] = False
    full = relabelled(labeller(), replace(series(labels=0.25), valid=valid), PHASE)
    assert torch.isnan(full.targets[200:220]).all() and torch.isfinite(full.targets[220:500]).all()


def test_who_sees_the_future_labels_better_than_who_does_not() -> None:
    few = series(labels=0.5)
    settings = Settings(distil=DistilSettings(**FIT.model_dump()), finetune=FinetuneSettings(**FIT.model_dump()))
    sees, histories = look_back(Teacher(MODEL, [4], FIT.dropout), settings, [few], WINDOW, (PHASE, PHASE), Silent())
    torch.manual_seed(0)
    student = Student(MODEL, 4, 1)
    finetune(student, FIT, [few], WINDOW, PHASE, Silent())
    blind = twin(student, [few], WINDOW)
    assert len(histories) == 1 and sees.error == pytest.approx(min(histories[0].validation_loss), rel=1e-5)
    assert sees.error < 0.5 < 0.9 < blind.error
    truth = series().targets[250:490]
    assert float(masked_mse(relabelled(sees, few, PHASE).targets[250:490], truth)) < 0.5


def test_the_other_sessions_labels_come_first_and_those_without_are_left_out() -> None:
    settings = Settings(
        distil=DistilSettings(**FIT.model_dump() | {"epochs": 3}), finetune=FinetuneSettings(**FIT.model_dump() | {"epochs": 2})
    )
    both, histories = look_back(
        Teacher(MODEL, [4]), settings, [series(1, 0.0), series(2), series(labels=0.5)], WINDOW, (PHASE, PHASE), Silent()
    )
    assert [history.epochs for history in histories] == [3, 2] and 0 < both.error < 3
    _, alone = look_back(Teacher(MODEL, [4]), settings, [series(1, 0.0), series(2), series(labels=0.0)], WINDOW, (PHASE, PHASE), Silent())
    assert [history.epochs for history in alone] == [3]


def test_weights_reach_the_loss() -> None:
    predicted, target = torch.zeros(4, 1), torch.tensor([[1.0], [2.0], [torch.nan], [3.0]])
    assert masked_mse(predicted, target, torch.ones(4)) == masked_mse(predicted, target)
    assert float(masked_mse(predicted, target, torch.tensor([1.0, 0.5, 1.0, 0.0]))) == pytest.approx((1 + 0.5 * 4) / 1.5)
    one = replace(series(), weights=torch.linspace(0, 1, 700))
    for batch in training_batches([one, series(9)], WINDOW, 4):
        whole = [(batch.weights[row] == 1).all() for row in range(len(batch.weights))]
        rising = [bool((batch.weights[row].diff() > 0).all()) for row in range(len(batch.weights))]
        assert all(a != b for a, b in zip(whole, rising, strict=True))


def test_sessions_without_labels_borrow_what_behaviour_is_like() -> None:
    material = gather([session(3), session(5), session(7, labels=0.0)], session(labels=0.0), "features", 0.02, unlabelled=True)
    own = [standardise(session(seed), session(seed).features, 0.02) for seed in (3, 5)]
    expected = torch.stack([one.target_mean for one in own]).mean(dim=0)
    torch.testing.assert_close(material.decoded.target_mean, expected)
    torch.testing.assert_close(material.pretraining[2].target_mean, expected)
    torch.testing.assert_close(material.pretraining[0].target_mean, own[0].target_mean)
    with pytest.raises(UserError, match="behaviour is unknown over the whole training part"):
        gather([session(3)], session(labels=0.0), "features", 0.02)
    with pytest.raises(UserError, match="behaviour is unknown over the whole training part"):
        gather([session(3, labels=0.0)], session(labels=0.0), "features", 0.02, unlabelled=True)


def test_without_labels_only_arms_that_learn_from_others_remain() -> None:
    task = Task(session(labels=0.0), (session(3),), 0.02, WINDOW)
    assert {name for name, arm in arms.ALL.items() if arms.learns(arm, task, 0.0)} == {
        "student", "student_half", "hindsight", "hindsight_safe", "hindsight_own", "restarted", "supervised", "wiener_pretrained",
    }  # fmt: skip
    nobody = replace(task, others=(session(3, labels=0.0),))
    assert not any(arms.learns(arm, nobody, 0.0) for arm in arms.ALL.values())
    assert all(arms.learns(arm, nobody, 0.1) for arm in arms.ALL.values())


def test_a_variant_hides_the_labels_of_the_first_others() -> None:
    task = Task(session(), (session(3), session(5), session(7)), 0.02, WINDOW)
    hidden = _limited(task, Variant("one", labelled=1))
    assert hidden.made_from()["unlabelled"] == ["s3", "s5"]
    assert np.isfinite(hidden.others[2].targets).all() and np.isnan(hidden.others[0].targets[:600]).all()
    assert _limited(task, Variant("all")).made_from()["unlabelled"] == []
    assert [(one.name, one.labelled) for one in STUDIES["hindsight"].variants(Settings(), 8)] == [
        ("no other session labelled", 0), ("1 labelled", 1), ("2 labelled", 2), ("all 8 labelled", None),
    ]  # fmt: skip
