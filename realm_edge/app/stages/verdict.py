"""The verdict stage: every scenario on parts and links, ``verdict.json`` and ``verdict.html``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_sim.budgets import Budget, load_budgets
from firmware_sim.components import Components, load_components
from firmware_sim.power.place import Heat, heats
from firmware_sim.ranges import DRAWS, SEED
from firmware_sim.targets import get_target
from firmware_sim.verdict.candidate import Candidate, figures, read_candidate, shipped
from firmware_sim.verdict.counts import Counts, Signal
from firmware_sim.verdict.judge import TOLERANCE, cell, judge
from firmware_sim.verdict.link import Link, default_link, get_link
from firmware_sim.verdict.pricing import price
from firmware_sim.verdict.table import Table
from realm_edge.app import artefacts
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.summaries import DataSummary, Metrics, Simulation
from realm_edge.app.verdict import page
from realm_edge.app.verdict.beside import SIGNALS, accuracies, beside
from realm_edge.app.verdict.form import VERDICT, Verdict
from realm_edge.app.verdict.hints import hints
from realm_edge.app.verdict.probe import count, count_run
from realm_edge.app.verdict.systems import systems
from realm_edge.app.workflow import simulation_options, simulation_request, target_options
from realm_edge.devices import Device, Precision
from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.files import sha256_file
from realm_edge.progress import Progress
from realm_edge.streams import LFP, SPIKE

TARGETS = ("cortex-m4", "stm32u385", "nrf54l15", "rv32imc")
CHANNELS = (32, 96, 256, 1024)
LINKS = ("medradio-402", "uwb", "optical", "inductive")  # those beside Bluetooth LE whose energy has a source
MOST_CHANNELS = 1024  # from 2,048 on, products of the LFP decoder's first layer leave 64 bits
Kind = tuple[Signal, bool]  # of firmware: its signal, and whether it has the front end
QUESTION = "Does this decoder, on this signal, fit this implant, and is LFP worth it against spikes?"
CONTEXT = (
    "An estimate for design comparison. Context of use: choosing between architectures before there is silicon. It is no measurement of an "
    "implant and no evidence for its verification."
)


@dataclass(frozen=True)
class Asked:
    """What a verdict is asked to cover.

    Attributes:
        links: of the map, beside each part's own.
        scenarios: a user's own files, beside the product's.
    """

    targets: tuple[str, ...] = TARGETS
    channels: tuple[int, ...] = CHANNELS
    links: tuple[str, ...] = LINKS
    scenarios: tuple[Path, ...] = ()
    budget: Path | None = None
    components: Path | None = None

    def check(self) -> None:
        """See that all that is named can be read, before anything is made.

        Raises:
            UserError: an unknown link, a file that is missing or broken, or a scenario's figure that is in no library.
        """
        gathered(self.scenarios)
        power_budget(self.budget)
        components = load_components(self.components)
        for path in self.scenarios:
            for name, unit in figures(read_candidate(path)):
                try:
                    components.value(name, unit)
                except UserError as error:
                    raise UserError(f"{path}: {error}") from error
        for name in self.links:
            get_link(name)

    def request(self) -> dict[str, Any]:
        """What the stage is made from, JSON-able: names, and hashes of files."""
        files = {"scenarios": {path.name: sha256_file(path) for path in self.scenarios}}
        named = {"targets": list(self.targets), "channels": list(self.channels), "links": list(self.links)}
        return named | files | simulation_request(self.budget, self.components)

    def options(self) -> list[str]:
        """The command line's options that ask for this, with paths that hold from any directory."""
        numbers = ["--channels", ",".join(map(str, self.channels))]
        named = [word for name in self.links for word in ("--link", name)]
        own = [word for path in self.scenarios for word in ("--scenario", str(path.absolute()))]
        return [*target_options(self.targets), *numbers, *named, *own, *simulation_options(self.budget, self.components)]


def run(run: RunDir, progress: Progress, asked: Asked, device: Device = "auto", precision: Precision = "32") -> Verdict:
    """Write ``verdict.json`` and ``verdict.html``; what was counted and trained for them is kept in ``verdict/``.

    The first table is of the run's own number of channels on the first target; its sentences are the answer.

    Raises:
        UserError: the stages before it are missing or stale, the recordings hold features, a scenario, link or file of limits or figures is
            broken, or a bit of a firmware differs from onnxruntime's.
    """
    first = asked.targets[0]
    run.require("quantize", f"simulate.{first}")
    require_voltage(run)
    simulated: Simulation = run.summary(f"simulate.{first}")
    data: DataSummary = run.summary("data")
    budget, components, candidates = power_budget(asked.budget), load_components(asked.components), gathered(asked.scenarios)
    latency = next((each.limit for each in load_budgets(asked.budget) if each.name == "latency_ms"), None)
    extra = [get_link(name) for name in asked.links]
    besides = {signal: beside(run, signal, progress, device, precision) for signal in SIGNALS}
    found = accuracies(run, besides)
    own = next(session.channels for session in data.sessions if session.heldout)
    counts = _counted(run, progress, asked, besides, candidates, own)

    def table(channels: int, target: str, link: Link, with_turns: bool) -> Table:
        kinds = [(candidate, counts[_kind(candidate), channels, target]) for candidate in candidates]
        priced = [price(candidate, count, get_target(target), link) for candidate, count in kinds]
        return judge(priced, {each.signal: each.r2_int8 for each in found}, budget, components, with_turns=with_turns, latency_ms=latency)

    places = [(channels, target) for channels in _channels(asked, own) for target in asked.targets]
    tables = tuple(table(*place, default_link(get_target(place[1])), True) for place in progress.track(places, "scenarios"))
    wider = [(*place, link) for place in places for link in extra if link != default_link(get_target(place[1]))]
    verdict = Verdict(
        question=QUESTION,
        answer=f"{tables[0].sentence} {tables[0].lfp_sentence}",
        context=CONTEXT,
        recordings=tuple(session.name for session in data.sessions),
        synthetic=data.synthetic,
        budget_uw=budget.limit,
        budget_source=budget.source,
        r2_tolerance=TOLERANCE,
        draws=DRAWS,
        seed=SEED,
        accuracies=found,
        tables=tables,
        map=tuple(cell(each) for each in (*tables, *(table(*place, False) for place in progress.track(wider, "links")))),
        heat=_heat(tables[0], components),
        hints=hints(run.settings, simulated.streams[LFP.name]),
        systems=systems(),
    )
    path, shown = run.file("verdict.json"), run.file("verdict.html")
    write_document(path, VERDICT, verdict, MAKERS["verdict"])
    page.write(verdict, shown)
    progress.say(f"  {shown}")
    run.complete("verdict", [path, shown], verdict)
    return verdict


def require_voltage(run: RunDir) -> None:
    """See that a run, whose data stage is complete, was made from voltage.

    Raises:
        UserError: its recordings hold features.
    """
    if run.requested("data").get("features") is not None:
        raise UserError(f"{run.path}: its recordings hold features: a verdict compares front ends, which need voltage")


def gathered(own: Sequence[Path]) -> tuple[Candidate, ...]:
    """The product's scenarios and a user's own; one of the same name goes before the product's.

    Raises:
        UserError: a file is broken, or two of the user's own have one name.
    """
    names = [path.stem for path in own]
    for before, path in enumerate(own):
        if path.stem in names[:before]:
            raise UserError(f"{path}: another --scenario has the name '{path.stem}', too: rename one of the files")
    found = {candidate.name: candidate for candidate in (*shipped(), *map(read_candidate, own))}
    return tuple(found.values())


def power_budget(path: Path | None) -> Budget:
    """The limit of power.

    Raises:
        UserError: the file is broken, or has none.
    """
    for budget in load_budgets(path):
        if budget.name == "power_uw":
            return budget
    raise UserError(f"{path}: has no limit of power: give power_uw")


def _channels(asked: Asked, own: int) -> tuple[int, ...]:
    """The run's own first: its accuracies are of these."""
    return tuple(dict.fromkeys((own, *asked.channels)))


def _kind(candidate: Candidate) -> Kind:
    """The firmware that says what a scenario takes; where samples are sent, what the one that would compute senses."""
    return candidate.signal, candidate.frontend != "circuit"


def _counted(
    run: RunDir, progress: Progress, asked: Asked, besides: Mapping[Signal, RunDir | str], candidates: Sequence[Candidate], own: int
) -> dict[tuple[Kind, int, str], Counts]:
    """Every firmware that a scenario needs, by kind, channels and target; of trained decoders at the run's own number of channels."""
    metrics: Metrics = run.summary("train")
    outputs, folder = len(metrics.target_names), run.file("verdict", "counts")
    kinds = tuple(dict.fromkeys(map(_kind, candidates)))
    wanted = [(kind, channels, target) for channels in _channels(asked, own) for target in asked.targets for kind in kinds]
    found = {}
    for kind, channels, target in progress.track(wanted, "firmware"):
        (signal, frontend), trained = kind, _trained(run, besides, kind[0])
        progress.note(f"{signal}, {channels} channels, {target}")
        if trained is not None and channels == own:
            found[kind, channels, target] = count_run(trained, signal, frontend, target, folder, progress)
        else:
            found[kind, channels, target] = count(signal, channels, frontend, target, run.settings, outputs, folder, progress)
    return found


def _trained(run: RunDir, besides: Mapping[Signal, RunDir | str], signal: Signal) -> RunDir | None:
    """The run whose trained decoder reads a signal that its own front end makes; None where there is none."""
    trained = besides.get(signal, run)
    stream = SPIKE if signal == "spike" else LFP
    return trained if isinstance(trained, RunDir) and artefacts.int8_frontend(trained, stream).exists() else None


def _heat(table: Table, components: Components) -> tuple[Heat, ...]:
    winner = next((row for row in table.rows if row.scenario == table.winner), None)
    return () if winner is None or winner.power_uw is None else heats(winner.power_uw, winner.power_uw_range, components)
