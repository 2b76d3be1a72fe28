"""What each arm of the comparison costs against the others, for the estimate of the time left until its own kind has been measured."""

from collections.abc import Sequence
from typing import Any

from realm_edge.evaluation.bench import OF_TRAINING
from realm_edge.evaluation.estimate import Part
from realm_edge.evaluation.forms import CellResult
from realm_edge.files import sha256_json
from realm_edge.settings import Settings

# Seconds an epoch over those of the student from scratch; of what is fitted in one go, over those of one epoch of it. Measured at demo's
# sizes with two epochs a phase: realm-edge evaluate --seeds 1 --double --workers 1, on three synthetic recordings of 60, 60 and 120 s,
# on busy cores.
_EPOCH = {
    "student": 1.0, "student_half": 1.0, "supervised": 1.0, "autoencoded": 1.0, "scratch": 1.0, "gru": 0.5, "lstm": 0.4, "transformer": 1.1,
    "gru_pretrained": 0.5, "transformer_pretrained": 1.1, "gru_x2": 0.6, "lstm_x2": 0.5, "transformer_x2": 1.5, "teacher": 2.0,
    "spike_scratch": 1.0, "spike_gru": 0.5, "unlabelled": 1.0, "hindsight": 2.0, "hindsight_safe": 2.0, "hindsight_own": 2.0,
}  # fmt: skip
_FIT = {
    "kalman": 3.0, "wiener": 25.0, "null": 25.0, "wiener_pretrained": 50.0, "restarted": 1.0, "spike_wiener": 1.0, "teacher_ridge": 3.0,
    "student_ridge": 3.0,
}  # fmt: skip
_TEACHER = {"pretrain": 5.0}
_LOOK_BACK = {"look back 1": 2.0, "hindsight": 3.0}
_OF_ONE = ("look back 1", "hindsight", "own")  # phases that depend on the decoded session and its labels
_BEFORE = {
    **{name: {**_TEACHER, "distil": 2.0} for name in ("student", "student_half", "student_ridge")},
    "teacher": _TEACHER, "teacher_ridge": _TEACHER,
    "supervised": {"supervised": 1.0}, "autoencoded": {"autoencode": 1.3}, "gru_pretrained": {"supervised": 0.8},
    "transformer_pretrained": {"supervised": 1.2}, "unlabelled": {**_TEACHER, "distil": 2.0}, "hindsight": {**_TEACHER, **_LOOK_BACK},
    "hindsight_safe": {**_TEACHER, **_LOOK_BACK}, "hindsight_own": {"own": 2.0}, "restarted": {},
}  # fmt: skip
_ALL_BUT_TEACHER = set(OF_TRAINING - {"teacher", "pretrain"})
_FEWEST = 0.2  # of an epoch's work: validation, and the batches that the fewest labels give


def parts(decoder: str, settings: Settings, labels: float, shared: Sequence[Any], own: Sequence[Any]) -> tuple[Part, ...]:
    """What a cell consists of: what is trained once for many cells, then what is its own.

    Args:
        labels: share of the training part.
        shared: tells the cells apart that do not have their pretraining in common.
        own: the same where the decoded session pretrains as well and its labels count.
    """
    before = []
    for phase, cost in _BEFORE.get(decoder, {}).items():
        kind = _kind(decoder, phase)
        epochs = settings.distil.epochs if phase in ("distil", "supervised") else settings.pretrain.epochs
        settings_of = settings.model_dump(mode="json", exclude=_ALL_BUT_TEACHER if phase == "pretrain" else {"preset", "finetune"})
        once = (kind, sha256_json(settings_of), *(own if phase == "distil" and decoder != "unlabelled" else shared))
        before.append(Part(kind, cost * epochs, None if phase in _OF_ONE else str(once)))
    weight = _FIT[decoder] if decoder in _FIT else _EPOCH[decoder] * settings.finetune.epochs * max(labels, _FEWEST)
    return (*before, Part(decoder, weight))


def spent(decoder: str, planned: Sequence[Part], result: CellResult) -> list[tuple[Part, float]]:
    """The seconds of :func:`parts`, as a result file tells them."""
    seconds = {_kind(decoder, phase): cost.seconds for phase, cost in result.pretraining.items()}
    seconds[decoder] = result.training_seconds
    return [(part, seconds[part.kind]) for part in planned if part.kind in seconds]  # without labels some is left out


def _kind(decoder: str, phase: str) -> str:
    """All arms of the teacher share one, and ridge on the student shares the student's; every other phase is of one arm."""
    return phase if phase == "pretrain" else f"{decoder.removesuffix('_ridge')}, {phase}"
