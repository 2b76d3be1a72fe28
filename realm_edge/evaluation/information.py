"""Before anyone pretrains: is there anything in a masked bin that masked autoencoding can learn, and is it about the target?

Ridge and principal components answer, of every session and without a network. Masks are drawn as pretraining draws them. All fits are on
the training part, with penalties chosen over blocks of it; all R2 are on the test part. A masked bin's neighbours lie in its own window,
and so in its own segment and part.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.evaluation import information_output, predictability
from realm_edge.evaluation.estimate import Part, Parts
from realm_edge.evaluation.forms import (
    INFORMATION,
    InformationSummary,
    InputInformation,
    SessionInformation,
    Told,
    ToldAtDistance,
    ToldByComponents,
)
from realm_edge.evaluation.predictability import FAR, FEWEST_BINS, Hidden, pooled_r2
from realm_edge.evaluation.sweep import Plan
from realm_edge.evaluation.tasks import Task, check_names, shift_of, task_of
from realm_edge.evaluation.workers import results
from realm_edge.files import write_bytes, write_text
from realm_edge.metrics import accuracy
from realm_edge.progress import Progress
from realm_edge.readers.names import name_of
from realm_edge.settings import PretrainSettings, Settings
from realm_edge.sources import Recordings
from realm_edge.training.loop import Phase, one_thread, seeded
from realm_edge.training.material import Kind, gather
from realm_edge.training.pretrain import mask_blocks
from realm_edge.training.segments import Series, windows_of

NAME = "information"
FORMAT = "realm-edge information/1"
SHIFTS = 19  # circular ones: without any relation, R2 is above the greatest of theirs once in twenty times
MOST_DRAWS = 20  # of masks, to fit on
MASKED_BINS = 40_000  # to fit on; long recordings have as many from fewer draws
LEAST_R2 = 0.05  # of masked bins, below which there is nothing to work with
LEAST_KEPT = 0.5  # of the target's R2, from which on what is told of a masked bin is about the target

NOTHING = "masked autoencoding has nothing to work with here"
ABOUT_TARGET = "masked autoencoding has something to work with, and it is about the target"
ABOUT_OTHERS = "masked autoencoding has something to work with, little of it about the target"

_INPUTS: dict[Kind, str] = {"features": "LFP", "counts": "spikes"}


@dataclass(frozen=True)
class Measured:
    """The measures of one session."""

    settings: Settings
    recordings: Recordings
    index: int
    draws: int  # of the masks that are scored
    command: str
    out: Path
    kind = SessionInformation

    @property
    def name(self) -> str:
        return name_of(self.recordings.files[self.index]) if self.recordings.files else f"synthetic_{self.index}"

    @property
    def path(self) -> Path:
        return self.out / "results" / f"{self.name}.json"

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.out,)

    @property
    def made_from(self) -> dict[str, Any]:
        recording = self.recordings.fingerprint(self.index) if self.recordings.files else self.index
        chosen = {"recording": recording} | self.recordings.chosen()
        return {"format": FORMAT, "settings": self.settings.digest(), "draws": self.draws, "recordings": chosen}

    @property
    def parts(self) -> Parts:
        return (Part(NAME),)

    def spent(self, result: SessionInformation) -> list[tuple[Part, float]]:
        return [(self.parts[0], result.seconds)]

    def compute(self) -> SessionInformation:
        """Prepare the session and measure its inputs."""
        start = time.monotonic()
        task = task_of(self.recordings, self.settings, self.index)
        kinds = [kind for kind in _INPUTS if getattr(task.decoded, kind) is not None]
        with one_thread():
            found = [measured(task, kind, self.settings, self.draws) for kind in kinds]
        return SessionInformation(
            command=self.command,
            session=task.decoded.name,
            synthetic=task.decoded.synthetic,
            segments=len(task.decoded.starts),
            seconds=time.monotonic() - start,
            masked_fraction=found[0][1],
            inputs=tuple(one for one, _ in found),
        )


def run(plan: Plan, out: Path, progress: Progress) -> InformationSummary:
    """Compute one result file per session, then write ``study.json``, ``.md``, ``.png`` and ``.svg`` into ``out``.

    Args:
        plan: ``seeds`` counts the draws of the masks that are scored.

    Raises:
        UserError: a recording cannot be used or is too short, or the plan asks for what this study has no choice of.
    """
    if plan.decoders or plan.labels or plan.heldout != 1:
        raise UserError(f"study {NAME}: it trains no decoder and measures every session: leave --heldout, --decoders and --labels out")
    check_names(plan.recordings)
    indices = range(len(plan.recordings.files) or plan.settings.synthetic.sessions)
    found = results(
        [Measured(plan.settings, plan.recordings, index, plan.seeds, plan.command, out) for index in indices], plan.workers, progress
    )
    summary = information_output.summarise(
        found, _caption(plan.settings.pretrain, plan.seeds), study=NAME, command=plan.command, settings=plan.settings.digest()
    )
    write_document(out / "study.json", INFORMATION, summary, ("numpy", "torch", "scikit-learn"))
    write_text(out / "study.md", information_output.markdown(summary))
    for kind, drawn in information_output.plot(summary).items():
        write_bytes(out / f"study.{kind}", drawn)
    return summary


def measured(task: Task, kind: Kind, settings: Settings, draws: int) -> tuple[InputInformation, float]:
    """Measure one input of a session.

    Args:
        draws: of the masks of the test part.

    Returns:
        The measures, and the masked share of the test part.

    Raises:
        UserError: the session is too short, or its behaviour cannot be learnt or never changes in the test part.
    """
    session = task.decoded
    series = gather((session,), session, kind, task.bin_s).decoded
    live = (series.input_inv_std > 0).numpy()
    if not live.any():
        raise UserError(f"{session.name}: no {_INPUTS[kind]} input changes over the training part: use another recording")
    x, y = series.inputs.numpy()[:, live], series.targets.numpy()
    channels = (np.arange(len(live)) % (len(live) // series.kinds))[live]
    shifts = [shift_of(session, task.bin_s, seed) for seed in range(SHIFTS)]
    null, owners = predictability.turned(x, shifts)
    ends = {"train": (0, series.train_end), "test": (series.validation_end, session.bins)}
    bins = {part: _bins(series, first, stop, task.window) for part, (first, stop) in ends.items()}
    if not len(bins["test"]):
        raise UserError(f"{session.name}: the whole test part lies in invalid times: correct the recording, or use another split")
    enough = int(np.clip(MASKED_BINS / (settings.pretrain.masked_fraction * len(bins["train"])), 1, MOST_DRAWS))
    train = _masked(series, *ends["train"], task.window, settings, enough)
    test = _masked(series, *ends["test"], task.window, settings, draws)
    if len(train.bins) < 2 * FEWEST_BINS:
        raise UserError(
            f"{session.name}: only {len(train.bins)} bins of the training part are masked, in {enough} draw(s), and {2 * FEWEST_BINS} are "
            "needed: use a longer recording or raise pretrain.masked_fraction"
        )

    told, told_null = (predictability.of_masked(x, each, train, test) for each in (x, null))

    def of(rows: NDArray[np.bool_]) -> Told:
        return _told(x[test.bins][rows], told[rows], null[test.bins][rows], told_null[rows])

    overall = of(np.ones(len(test.bins), bool))
    by_distance = [
        ToldAtDistance(
            **of(rows).given(), nearest=each.nearest, farthest=None if each.farthest >= FAR - 1 else each.farthest, share=float(rows.mean())
        )
        for each in predictability.classes(train)
        if (rows := each.of(test)).any()
    ]
    components, target = _components(x, y, shifts, bins["train"], bins["test"])
    from_bin = _of_target(x[bins["train"]], x[test.bins], y, shifts, bins["train"], test.bins)
    some = slice(None, None, enough)  # as many rows as one draw has, evenly over the part
    from_prediction = _of_target(predictability.in_halves(x, train)[some], told, y, shifts, train.bins[some], test.bins)
    kept = _share(from_prediction, from_bin)
    found = InputInformation(
        input=_INPUTS[kind],
        inputs=x.shape[1],
        channels=len(np.unique(channels)),
        masked=overall,
        by_distance=tuple(by_distance),
        other_channels=_other_channels(x, channels, null, owners, bins["train"], bins["test"]),
        components=tuple(components),
        target=target,
        target_from_bin=from_bin,
        target_from_prediction=from_prediction,
        kept=kept,
        verdict=verdict(overall, from_prediction, kept),
    )
    drawn = sum(each.stop - each.start for each in windows_of(series, *ends["test"], task.window)) * draws
    return found, len(test.bins) / drawn


def _share(part: Told, whole: Told) -> float | None:
    """Of two R2; None where the whole is not above chance."""
    return part.r2 / whole.r2 if part.r2 is not None and whole.r2 is not None and whole.above_chance else None


def verdict(masked: Told, target_from_prediction: Told, kept: float | None) -> str:
    """One of :data:`NOTHING`, :data:`ABOUT_TARGET` and :data:`ABOUT_OTHERS`.

    Nothing: R2 of masked bins is below :data:`LEAST_R2` or within chance. About the target: what is told of a masked bin tells the target
    better than chance, and with :data:`LEAST_KEPT` or more of the R2 that the bin itself has.
    """
    if masked.r2 is None or masked.r2 < LEAST_R2 or not masked.above_chance:
        return NOTHING
    return ABOUT_TARGET if target_from_prediction.above_chance and kept is not None and kept >= LEAST_KEPT else ABOUT_OTHERS


def _caption(settings: PretrainSettings, draws: int) -> str:
    shortest, longest = settings.block_bins
    parts = [
        "Ridge fitted on the training part of each session, scored on its test part; masks as pretraining draws them: blocks of",
        f"{shortest} to {longest} bins until {100 * settings.masked_fraction:g} % of a window are masked, in {draws} draw(s).",
        "Masked bin: R² of its inputs, pooled over all, from the nearest visible bin on each side and the mean of up to",
        f"{predictability.REACH} visible ones there. Other channels: R² of a channel's inputs from other channels in the same bin, which",
        "masking hides too. Target: R² at the masked bins, from the bin itself, and from what is told of it. Components: principal ones of",
        f"the training part. In parentheses: chance, the greatest R² after {SHIFTS} circular shifts by 10 s or more. Rules: nothing to",
        f"work with where R² of masked bins is below {LEAST_R2:g} or within chance; about the target where the prediction keeps",
        f"{100 * LEAST_KEPT:g} % or more of the target's R², and more than chance. What is linear is a floor: a network may find more.",
    ]
    return " ".join(parts)


def _bins(series: Series, first: int, stop: int, window: int) -> NDArray[np.int64]:
    """Those of a part that something can be learnt from."""
    inside = np.zeros(len(series.inputs), bool)
    for each in windows_of(series, first, stop, window):
        inside[each.start : each.stop] = True
    return np.flatnonzero(inside)


def _masked(series: Series, first: int, stop: int, window: int, settings: Settings, draws: int) -> Hidden:
    """The masked bins of a part, in so many draws."""
    windows = windows_of(series, first, stop, window) * draws
    lengths = torch.tensor([each.stop - each.start for each in windows])
    with seeded(Phase(NAME, settings.seed), f"{first} {stop}"):
        masks = mask_blocks(lengths, int(lengths.max()), settings.pretrain).numpy()
    return predictability.hidden([(each.start, each.stop) for each in windows], masks)


def _told(true: NDArray[np.float32], told: NDArray[np.float32], null: NDArray[np.float32], told_null: NDArray[np.float32]) -> Told:
    return Told(r2=pooled_r2(true, told), chance=predictability.greatest_r2(null, told_null, SHIFTS))


def _other_channels(
    x: NDArray[np.float32],
    channels: NDArray[np.int64],
    null: NDArray[np.float32],
    owners: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Told | None:
    """``null`` and ``owners`` as :func:`realm_edge.evaluation.predictability.turned` gives them."""
    if len(np.unique(channels)) < 2:
        return None
    told = predictability.of_channels(x, channels, x, channels, train, test)
    return _told(x[test], told, null[test], predictability.of_channels(x, channels, null, channels[owners], train, test))


def _components(
    x: NDArray[np.float32], y: NDArray[np.float32], shifts: list[int], train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[list[ToldByComponents], Told]:
    """What the first principal components of the training part hold, and what all of them tell of the target."""
    most = min(x.shape[1], len(train))
    pca = PCA(most, svd_solver="full").fit(x[train])
    scores, variance = pca.transform(x).astype(np.float32), np.cumsum(pca.explained_variance_ratio_)
    parts = y[train], y[test]
    rows = [
        ToldByComponents(components=k, variance=float(variance[k - 1]), r2=_target_r2(scores[train, :k], scores[test, :k], *parts))
        for k in predictability.leading(most)
    ]
    return rows, _of_target(scores[train], scores[test], y, shifts, train, test)


def _of_target(
    x: NDArray[np.float32],
    other: NDArray[np.float32],
    y: NDArray[np.float32],
    shifts: list[int],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Told:
    """Of the target, from ``x`` at the bins ``train`` to ``other`` at the bins ``test``."""

    turned = (np.roll(y, by, axis=0) for by in shifts)
    return Told(
        r2=_target_r2(x, other, y[train], y[test]),
        chance=max((r2 for each in turned if (r2 := _turned_r2(x, other, each[train], each[test])) is not None), default=None),
    )


def _turned_r2(x: NDArray[np.float32], other: NDArray[np.float32], known: NDArray[np.float32], true: NDArray[np.float32]) -> float | None:
    """None where what came to lie in a part after the shift is unknown there, or never changes."""
    try:
        return _target_r2(x, other, known, true)
    except UserError:
        return None


def _target_r2(x: NDArray[np.float32], other: NDArray[np.float32], known: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """Mean over the axes."""
    return float(np.mean(accuracy(true, predictability.of_target(x, known, other)).r2))
