"""The report stage: ``report.html`` and ``report.json``."""

from collections.abc import Sequence

import jinja2
from markupsafe import Markup

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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("realm_edge.app.report", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    page = environment.get_template("template.html.j2")
    return page.render(facts.given(), plots={name: Markup(svg) for name, svg in drawn.items()}, streams=plots.STREAM_NAMES)


def format_number(value: float | None) -> str:
    """A number for people: thousands separated, three significant digits below 100; an en dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
