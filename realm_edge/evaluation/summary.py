"""Means and 95 % confidence intervals over seeds and sessions, and what the distilled student gains."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import sem, t

from realm_edge.evaluation.blocks import BLOCK_S, FEWEST, difference_interval
from realm_edge.evaluation.convergence import race
from realm_edge.evaluation.decoders import DISTILLED, Decoder
from realm_edge.evaluation.forms import CellResult, Evaluation, Interval, Labelled, ScoredRow
from realm_edge.segments import HISTORY_S
from realm_edge.settings import Settings

CONFIDENCE = 0.95
SEGMENTED = (
    f"Filters and decoders start anew with every segment; with history: over the bins with {HISTORY_S:g} s of their segment behind them."
)
SYNTHETIC = "Synthetic recordings: no evidence about brains."


def summarise(results: Sequence[CellResult], arms: Sequence[Decoder], settings: Settings, command: str = "") -> Evaluation:
    """Put the results of one sweep together, which ``command`` asked for."""
    sessions, seeds = sorted({result.session for result in results}), sorted({result.seed for result in results})
    synthetic, rows = any(result.synthetic for result in results), rows_of(results, arms)
    return Evaluation(
        command=command,
        settings=settings.digest(),
        caption=_caption(synthetic, sessions, seeds, results[0].bins, rows, settings, segmented(results)),
        synthetic=synthetic,
        sessions=tuple(sessions),
        seeds=tuple(seeds),
        target_names=tuple(results[0].r2_by_axis),
        segmented=segmented(results),
        rows=rows,
    )


def rows_of(results: Sequence[CellResult], arms: Sequence[Decoder]) -> tuple[ScoredRow, ...]:
    """One a share of labels and decoder."""
    rows = []
    for share in sorted({result.labels for result in results}):
        here = [result for result in results if result.labels == share]
        reference = {key(result): result for result in here if result.decoder == DISTILLED}
        by_arm = [(arm, [result for result in here if result.decoder == arm.name]) for arm in arms]
        rows += [_row(arm, share, own, reference) for arm, own in by_arm if own]  # some learn nothing without labels
    return tuple(rows)


def segmented(results: Sequence[CellResult]) -> bool:
    """Whether a decoded session has more than one segment, so that decoders start anew in it."""
    return any(result.segments > 1 for result in results)


def interval(values: Sequence[float]) -> Interval | None:
    """Student's t interval of the mean; None where values are fewer than three: that of two reaches 12.7 standard errors to either side."""
    if len(values) < 3:
        return None
    half = float(sem(values) * t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


FEWEST_SESSIONS = 3  # from which on an interval covers what other sessions would give


def interval_over(results: Sequence[CellResult], values: Sequence[float]) -> Interval | None:
    """:func:`interval` of ``values``, one a result, over what is independent: cells of one session share its data, those of a seed do not.

    Over the sessions' means over seeds, where there are :data:`FEWEST_SESSIONS`; else over the seeds' means over sessions, which covers
    chance in training alone. Wiener and Kalman give the same at every seed: that is one observation.
    """
    by = "session" if len({result.session for result in results}) >= FEWEST_SESSIONS else "seed"
    groups: dict[Any, list[float]] = {}
    for result, value in zip(results, values, strict=True):
        groups.setdefault(getattr(result, by), []).append(value)
    means = [float(np.mean(sorted(group))) for _, group in sorted(groups.items())]
    return interval(means if by == "session" else sorted(set(means)))


def covered(sessions: Sequence[str], seeds: Sequence[int]) -> str:
    """What :func:`interval_over` covers, in words."""
    if len(sessions) >= FEWEST_SESSIONS:
        return f"over {len(sessions)} sessions, of each the mean over seeds"
    return (
        f"over {len(seeds)} seed(s), of each the mean over sessions: they cover chance in training and not what other sessions would give, "
        f"which takes {FEWEST_SESSIONS} sessions"
    )


def _row(arm: Decoder, share: float, results: Sequence[CellResult], reference: dict[tuple[str, int], CellResult]) -> ScoredRow:
    def mean(name: str) -> float:
        return float(np.mean([getattr(result, name) for result in results]))

    pairs = [] if arm.chance or arm.name == DISTILLED else paired(reference, results)
    gains = [student.r2 - other.r2 for student, other in pairs]
    late = [result.r2_with_history for result in results if result.r2_with_history is not None]
    steps = [result.steps_to_best for result in results if result.steps_to_best is not None]
    stopped = [result.stopped_early for result in results if result.stopped_early is not None]
    before = [phase for result in results for phase in result.pretraining.values()]
    return ScoredRow(
        decoder=arm.name,
        label=arm.label,
        chance=arm.chance,
        labels=share,
        labelled=Labelled(
            training=round(float(np.mean([result.labelled.training for result in results]))),
            validation=round(float(np.mean([result.labelled.validation for result in results]))),
        ),
        cells=len(results),
        r2=mean("r2"),
        r2_interval=interval_over(results, [result.r2 for result in results]),
        r2_with_history=float(np.mean(late)) if late else None,
        r2_by_axis={axis: float(np.mean([result.r2_by_axis[axis] for result in results])) for axis in results[0].r2_by_axis},
        r=mean("r"),
        student_gain=float(np.mean(gains)) if gains else None,
        student_gain_interval=interval_over([other for _, other in pairs], gains),
        student_gain_test_interval=_over_test_blocks(pairs) if pairs else None,
        parameters=round(mean("parameters")),
        macs_per_step=round(mean("macs_per_step")),
        training_seconds=mean("training_seconds"),
        pretraining_seconds=sum(phase.seconds for phase in before) / len(results),
        pretraining_steps=round(sum(phase.steps for phase in before) / len(results)),
        steps_to_best=float(np.mean(steps)) if steps else None,
        validation_loss=float(np.mean([result.least_loss for result in results])) if steps else None,
        stopped_early=float(np.mean(stopped)) if stopped else None,
        pretraining_stopped_early=float(np.mean([phase.stopped_early for phase in before])) if before else None,
        race=race(pairs) if pairs and steps else None,
    )


def paired(first: dict[tuple[str, int], CellResult], second: Sequence[CellResult]) -> list[tuple[CellResult, CellResult]]:
    """Results of two decoders on the same sessions and seeds; those that only ``second`` has are left out."""
    return [(first[key(result)], result) for result in second if key(result) in first]


def _over_test_blocks(pairs: Sequence[tuple[CellResult, CellResult]]) -> Interval | None:
    sessions = sorted({student.session for student, _ in pairs})
    stacked = []
    for session in sessions:
        own = [pair for pair in pairs if pair[0].session == session]
        stacked.append((np.array([student.blocks for student, _ in own]), np.array([other.blocks for _, other in own])))
    return difference_interval(stacked)


def key(result: CellResult) -> tuple[str, int]:
    return result.session, result.seed


def _caption(
    synthetic: bool,
    sessions: Sequence[str],
    seeds: Sequence[int],
    bins: int,
    rows: Sequence[ScoredRow],
    settings: Settings,
    pauses: bool,
) -> str:
    parts = [SYNTHETIC] if synthetic else []
    parts += [
        f"R² on the test part ({bins} bins in the first session) of {', '.join(sessions)}, decoded causally with the state carried",
        "(but for what is marked not causal),",
        f"split in order of time. Means over {len(seeds)} seed(s) x {len(sessions)} session(s);",
        f"brackets are 95 % t intervals {covered(sessions, seeds)} (none where fewer than three differ: Wiener and Kalman give the same at",
        "every seed).",
        "Student minus decoder is paired by seed and session; over test data: 95 % interval of the same mean over resampled blocks of",
        f"{BLOCK_S:g} s of the test parts, the same blocks for both decoders (none below {FEWEST} blocks).",
        "Labels: share of the training part, from its start, whose behaviour is known; the validation part, which says when to stop,",
        "keeps all of its own, so that more is labelled in all.",
        "Trained baselines have the width that comes closest to the student's parameters (doubled: twice those), see the decoded session",
        "alone unless the label says otherwise, and share its optimiser settings and early stopping. Supervised pretraining has the",
        "settings of distillation, masked autoencoding those of the teacher's.",
        "MACs per step: linear and recurrent weights, convolution taps, 3 x heads x headdim x d_state a Mamba-2 block, and for the",
        f"transformer the attention products of a full context of {settings.transformer_bins} bins.",
        "Chance: the behaviour is turned round by a random time of 10 s or more and the Wiener filter fitted again.",
    ]
    late = [f"{row.label} ({100 * row.labels:g} %)" for row in rows if row.stopped_early is not None and row.stopped_early < 1]
    if late:
        parts.append(f"Not trained to early stopping at every seed and session, so that more epochs might change them: {', '.join(late)}.")
    if pauses:
        parts.append(SEGMENTED)
    if settings.output_delay_ms:
        parts.append(f"Every decoder answers {settings.output_delay_ms} ms late.")
    return " ".join(parts)
