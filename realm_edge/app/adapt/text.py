"""An adaptation in words: what the command prints, and ``adaptation.md``."""

from collections.abc import Iterator

from realm_edge.app.adapt.decision import NAMES
from realm_edge.app.adapt.form import Adaptation, Check
from realm_edge.app.cli_text import SYNTHETIC


def lines(found: Adaptation) -> Iterator[str]:
    """Line by line; a table among them is Markdown."""
    if found.synthetic:
        yield f"{SYNTHETIC}."
        yield ""
    new = found.winner == "hindsight"
    yield f"**{'The new student replaces the old one' if new else 'The old student is kept'}** for {found.today}."
    yield ""
    yield f"It rests on {found.rests_on}."
    yield ""
    yield from _checks(found)
    yield ""
    yield from _table(found)
    yield ""
    yield (
        f"Errors are mean squares over the variance of the behaviour, on the labelled validation part of {found.session}; the teacher's is "
        f"{found.teacher_error:.3f}. R2 is that of the last {found.tested_seconds:.0f} of {found.seconds:.0f} s, which nothing was trained "
        f"on. The teacher's labels count {found.trust:.2f} on average."
    )
    if found.updates:
        yield ""
        yield from _updates(found)


def _checks(found: Adaptation) -> Iterator[str]:
    deciding = found.behaviour_checks[:1] or found.teacher_checks
    for check in deciding:
        yield _line(check)
    if found.behaviour_checks:
        yield ""
        yield "Beside that:"
        yield ""
        for check in found.behaviour_checks[1:]:
            yield _line(check)
        kept = "replaced" if all(check.holds for check in found.teacher_checks) else "kept"
        yield ""
        yield f"Without the day's behaviour the old student would have been {kept}:"
        yield ""
        for check in found.teacher_checks:
            yield _line(check)


def _line(check: Check) -> str:
    return f"- {'yes' if check.holds else 'no'}: {check.text}."


def _table(found: Adaptation) -> Iterator[str]:
    yield f"| student | optimiser steps | error on {found.session} | R2 of the teacher's hindsight | R2 of behaviour |"
    yield "|---|---|---|---|---|"
    for row in found.rows:
        known = "not given" if row.r2 is None else f"{row.r2:.3f}"
        yield f"| {NAMES[row.arm]} | {row.steps:,} | {row.old_error:.3f} | {row.near:.3f} | {known} |"


def _updates(found: Adaptation) -> Iterator[str]:
    yield "| target | steps equal to onnxruntime | constants, bytes | of those changed | code changed, of bytes |"
    yield "|---|---|---|---|---|"
    for target, one in found.updates.items():
        changed = f"{one.changed_code_bytes:,} of {one.code_bytes:,}"
        yield f"| {target} | {one.steps:,} of {one.steps:,} | {one.constant_bytes:,} | {one.changed_constant_bytes:,} | {changed} |"
    if found.nrmse_int8_float is not None:
        yield ""
        yield f"int8 against float over these steps: NRMSE {100 * found.nrmse_int8_float:.1f} %."
