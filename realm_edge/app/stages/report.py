"""The report stage: ``report.html`` and ``report.json``."""

from collections.abc import Sequence

from markupsafe import Markup

from realm_edge.app.html_pages import render
from realm_edge.app.report import plots
from realm_edge.app.report.facts import REPORT, Facts, gather
from realm_edge.app.report.traces import load_traces
from realm_edge.app.report.verification_plot import endurance_svg
from realm_edge.app.rundir import RunDir
from realm_edge.app.summaries import ReportSummary
from realm_edge.app.workflow import report_request
from realm_edge.documents import write_document
from realm_edge.files import write_text
from realm_edge.progress import Progress


def run(run: RunDir, progress: Progress, targets: Sequence[str]) -> ReportSummary:
    """Write the report on ``targets``.

    Raises:
        UserError: a target's simulate stage is missing or stale.
    """
    facts = gather(run, targets)
    run.request("report", report_request(run, targets))
    what, simulations = facts.what, facts.targets
    drawn = {
        "traces": plots.traces(load_traces(run), what.target_names, what.target_unit),
        "accuracy": plots.accuracy(facts.accuracy.scored),
        "power": plots.power(simulations),
        "bandwidth": plots.bandwidth(next(iter(simulations.values()))),
        "cycles": plots.cycles(simulations),
        "memory": plots.memory(simulations),
    }
    if facts.verification:
        drawn["endurance"] = endurance_svg(facts.verification)
    page, numbers = run.file("report.html"), run.file("report.json")
    write_text(page, _render(facts, drawn))
    write_document(numbers, REPORT, facts)
    progress.say(f"  {page}")
    summary = ReportSummary(ok=facts.ok, verdicts=facts.verdicts)
    run.complete("report", [page, numbers], summary)
    return summary


def _render(facts: Facts, drawn: dict[str, str]) -> str:
    plots_of = {name: Markup(svg) for name, svg in drawn.items()}
    return render("report/template.html.j2", facts.given() | {"plots": plots_of, "streams": plots.STREAM_NAMES, "boards": facts.boards})
