"""Runs a study: the cells of all its variants, then one table and one plot."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.evaluation.bench import OF_TRAINING
from realm_edge.evaluation.cells import Cell, Conditions
from realm_edge.evaluation.decoders import ALL, Decoder, chosen, learns
from realm_edge.evaluation.forms import STUDY, CellResult, InStudy, StudyRow, StudySummary, TrainedRow, ValidatedRow, VariantSettings
from realm_edge.evaluation.studies import STUDIES, Study, Variant
from realm_edge.evaluation.study_output import markdown, plot
from realm_edge.evaluation.summary import SEGMENTED, SYNTHETIC, covered, interval_over, key, paired, rows_of, segmented
from realm_edge.evaluation.sweep import Plan
from realm_edge.evaluation.tasks import CAUSAL, Task, tasks, with_labels
from realm_edge.evaluation.workers import results
from realm_edge.files import sha256_json, write_bytes, write_text
from realm_edge.progress import Progress
from realm_edge.settings import Settings, changed


def run(name: str, plan: Plan, out: Path, progress: Progress) -> StudySummary:
    """Compute the cells that ``out`` lacks, then write ``study.json``, ``.md``, ``.png`` and ``.svg`` into it.

    Args:
        name: one of :data:`realm_edge.evaluation.studies.STUDIES`.
        plan: its labels and decoders, where it has some, take the place of the study's.

    Raises:
        UserError: there is no such study, or it cannot be done on these recordings or with these settings.
    """
    if name not in STUDIES:
        raise UserError(f"study {name}: no such study: use one of {', '.join([*STUDIES, 'stability', 'information'])}")
    study = STUDIES[name]
    sessions = len(plan.recordings.files) or plan.settings.synthetic.sessions
    variants = study.variants(plan.settings, sessions - (1 if plan.heldout is None else plan.heldout))
    _check(name, plan, variants)
    settings = [_changed(name, plan.settings, variant) for variant in variants]
    named = [variant.decoders or plan.decoders or study.decoders for variant in variants]
    names = [tuple(name for name in some if name not in variant.without) for variant, some in zip(variants, named, strict=True)]
    arms = [chosen(some, spikes=True, others=sessions > 1) for some in names]
    todo = _tasks(plan, variants, settings, any(arm.inputs == "counts" for some in arms for arm in some), progress)

    labels = plan.labels or study.labels
    first_seed = plan.settings.seed + study.seeds_after
    cells: list[tuple[int, Cell]] = []
    for decoder in ALL:
        for at, variant in enumerate(variants):
            if decoder not in (arm.name for arm in arms[at]):
                continue
            folder = out / variant.name.replace(" ", "-").replace(",", "")
            conditions = Conditions(settings[at], plan.recordings, plan.command, folder, out / "pretrained", plan.device, plan.precision)
            seeds = range(first_seed, first_seed + plan.seeds)
            cells += [
                (at, Cell(conditions, task, decoder, share, seed))
                for task in todo[at]
                for share in labels
                for seed in seeds
                if learns(ALL[decoder], task, share)
            ]
    computed = results([cell for _, cell in cells], plan.workers, progress)

    found = [[result for (here, _), result in zip(cells, computed, strict=True) if here == at] for at in range(len(variants))]
    rows = tuple(_rows(study, variants, arms, found))
    every = [result for some in found for result in some]
    summary = StudySummary(
        study=name,
        command=plan.command,
        settings=plan.settings.digest(),
        caption=_caption(study, variants, every, rows),
        question=study.question,
        axis=study.axis,
        logarithmic=study.logarithmic,
        score="validation_loss" if study.validation else "r2",
        synthetic=any(one.synthetic for one in every),
        segmented=segmented(every),
        changes=tuple(VariantSettings(variant=variant.name, settings=dict(variant.settings)) for variant in variants),
        rows=rows,
    )
    write_document(out / "study.json", STUDY, summary, ("numpy", "torch"))
    write_text(out / "study.md", markdown(summary))
    for kind, drawn in plot(summary).items():
        write_bytes(out / f"study.{kind}", drawn)
    return summary


def _check(name: str, plan: Plan, variants: Sequence[Variant]) -> None:
    if plan.recordings.files and any("synthetic" in variant.settings for variant in variants):
        raise UserError(f"study {name}: it changes the synthetic recordings: leave --data out")
    if plan.recordings.features is not None and any(variant.chain != CAUSAL for variant in variants):
        raise UserError(f"study {name}: it changes the filters, and --features are past them: use recordings of voltage")
    if len(variants) < 2:
        sessions = len(plan.recordings.files) or plan.settings.synthetic.sessions
        raise UserError(f"study {name}: {sessions} session(s) leave nothing to vary: use more recordings, or decode fewer with --heldout")


def _changed(name: str, settings: Settings, variant: Variant) -> Settings:
    try:
        return changed(settings, variant.settings)
    except ValidationError as error:
        raise UserError(f"study {name}, {variant.name}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _tasks(
    plan: Plan, variants: Sequence[Variant], settings: Sequence[Settings], crossings: bool, progress: Progress
) -> list[tuple[Task, ...]]:
    """The decoded sessions of each variant; recordings are prepared once for all that see the same."""
    made: dict[str, list[Task]] = {}
    todo = []
    for variant, own in zip(variants, settings, strict=True):
        inputs = own.model_dump(mode="json", exclude=set(OF_TRAINING - {"output_delay_ms"}))
        seen = sha256_json([inputs, variant.chain.name])
        if seen not in made:
            made[seen] = tasks(plan.recordings, own, plan.heldout, progress, variant.chain, crossings)
        todo.append(tuple(_limited(task, variant) for task in made[seen]))
    return todo


def _limited(task: Task, variant: Variant) -> Task:
    others = task.others if variant.sessions is None else task.others[-variant.sessions :]
    hidden = 0 if variant.labelled is None else max(0, len(others) - variant.labelled)
    return replace(task, others=(*(with_labels(one, 0.0) for one in others[:hidden]), *others[hidden:]))


def _rows(
    study: Study, variants: Sequence[Variant], arms: Sequence[Sequence[Decoder]], found: Sequence[Sequence[CellResult]]
) -> Iterator[StudyRow | ValidatedRow]:
    for at, variant in enumerate(variants):
        for row in rows_of(found[at], arms[at]):
            decoder = arms[0][0].name if study.against_first else row.decoder
            reference = {key(one): one for one in found[0] if one.decoder == decoder and one.labels == row.labels}
            here = [one for one in found[at] if one.decoder == row.decoder and one.labels == row.labels]
            is_reference = at == 0 and row.decoder == decoder
            pairs = [] if is_reference else paired(reference, here)
            changes = [_score(study, own) - _score(study, first) for first, own in pairs]
            about = InStudy(
                variant=variant.name,
                at=variant.at,
                change=math.fsum(changes) / len(changes) if changes else None,
                change_interval=interval_over([own for _, own in pairs], changes),
            ).given()
            if study.validation:  # what is scored on the test part stays unknown
                yield ValidatedRow(**{name: getattr(row, name) for name in TrainedRow.model_fields}, **about)
            else:
                yield StudyRow(**row.given(), **about)


def _score(study: Study, result: CellResult) -> float:
    return float(result.least_loss if study.validation else result.r2)


def _caption(study: Study, variants: Sequence[Variant], results: Sequence[CellResult], rows: Sequence[StudyRow | ValidatedRow]) -> str:
    sessions = sorted({one.session for one in results})
    seeds = sorted({one.seed for one in results})
    score = "Least mean squared error on the validation part (standardised)" if study.validation else "R² on the test part"
    first = f"'{variants[0].name}'" + ("" if study.against_first else ", same decoder")
    parts = [SYNTHETIC] if any(one.synthetic for one in results) else []
    parts += [
        f"{score} of {', '.join(sessions)}, means over {len(seeds)} seed(s) from {seeds[0]} on x {len(sessions)} session(s), with 95 % t",
        f"intervals {covered(sessions, seeds)}. Differences are paired by session and seed, to {first}.",
    ]
    if study.validation:
        parts.append(_best(rows))
    elif segmented(results):
        parts.append(SEGMENTED)
    late = sorted({row.label for row in rows if row.stopped_early is not None and row.stopped_early < 1})
    if late:
        parts.append(f"Not trained to early stopping in every cell: {'; '.join(late)}.")
    return " ".join(parts)


def _best(rows: Sequence[StudyRow | ValidatedRow]) -> str:
    names = list(dict.fromkeys(row.variant for row in rows))
    mean = {name: _mean([row.validation_loss for row in rows if row.variant == name and row.validation_loss is not None]) for name in names}
    best = min(names, key=lambda name: mean[name])
    edge = " It lies at the edge of the grid." if best in (names[0], names[-1]) else ""
    return f"Best on average over the decoders: {best} ({mean[best]:.4f}).{edge}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
