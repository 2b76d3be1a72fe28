"""The cells of a comparison: one decoder on one session, seed and share of labels, and the one result file of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm_edge.evaluation import costs
from realm_edge.evaluation.bench import Bench
from realm_edge.evaluation.blocks import block_sums
from realm_edge.evaluation.decoders import ALL
from realm_edge.evaluation.estimate import Part, Parts
from realm_edge.evaluation.forms import CellMachine, CellResult
from realm_edge.evaluation.tasks import Task, labelled, shifted, with_labels
from realm_edge.metrics import score_test_part
from realm_edge.segments import within
from realm_edge.session import in_memory
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from realm_edge.training.loop import one_thread
from realm_edge.training.machine import machine
from realm_edge.training.material import gather
from realm_edge.training.memory import Inputs, check_training
from realm_edge.training.segments import behaviour_of

FORMAT = "realm-edge result/7"


@dataclass(frozen=True)
class Conditions:
    """What the cells of one table have in common."""

    settings: Settings
    recordings: Recordings
    command: str
    out: Path  # results are kept in out/results
    pretrained: Path  # directory of models that several cells share, also with other conditions
    device: str = "cpu"  # this and the next: as realm_edge.training.machine.machine takes them
    precision: str = "32"


@dataclass(frozen=True)
class Cell:
    """One decoder's training and test."""

    conditions: Conditions
    task: Task
    decoder: str  # name of an arm
    labels: float  # share of the training part whose behaviour is known
    seed: int
    kind = CellResult

    @property
    def name(self) -> str:
        return f"{self.task.decoded.name}.{self.decoder}.labels{100 * self.labels:g}.seed{self.seed}"

    @property
    def path(self) -> Path:
        return self.conditions.out / "results" / f"{self.name}.json"

    @property
    def made_from(self) -> dict[str, Any]:
        asked = self.conditions.recordings
        recordings = self.task.made_from() | asked.chosen()
        return {"format": FORMAT, "settings": self.conditions.settings.digest(), "recordings": recordings}

    @property
    def folders(self) -> tuple[Path, ...]:
        return self.conditions.out, self.conditions.pretrained

    @property
    def parts(self) -> Parts:
        settings, others = self.conditions.settings, [other.name for other in self.task.others]
        shared = [self.seed, self.task.chain.name, *(others or [self.task.decoded.name])]
        return costs.parts(self.decoder, settings, self.labels, shared, shared if others else [*shared, self.labels])

    def spent(self, result: CellResult) -> list[tuple[Part, float]]:
        return costs.spent(self.decoder, self.parts, result)

    def compute(self) -> CellResult:
        """Train and test."""
        conditions, task, arm = self.conditions, self.task, ALL[self.decoder]
        session = in_memory(task.decoded)
        session = shifted(session, task.bin_s, self.seed) if arm.chance else session
        decoded = with_labels(session, self.labels)
        if self.labels:
            behaviour_of(decoded)  # a share that holds no label is told, before statistics are borrowed
        material = gather((*task.others, decoded), decoded, arm.inputs, task.bin_s, task.chain.whole_session, unlabelled=True)
        # What is pretrained is shared by all decoded sessions with the same pretraining sessions.
        shared = {name: value for name, value in self.made_from["recordings"].items() if name != "unlabelled"}
        if material.pretraining:
            names = {one.name for one in material.pretraining}
            shared = shared | {"decoded": None, "pretraining": [one for one in shared["pretraining"] if one[0] in names]}
        inputs = Inputs(material.inputs.shape[1], len(session.target_names), material.decoded.kinds)
        with one_thread(), machine(conditions.device, conditions.precision) as fabric:  # decoding too: cores do not change results
            check_training(conditions.settings, inputs, fabric)
            bench = Bench(conditions.settings, material, task.window, self.seed, conditions.pretrained, {"recordings": shared}, fabric)
            outcome = arm.fit(bench)
        history = outcome.history
        return CellResult(
            command=conditions.command,
            session=session.name,
            synthetic=session.synthetic,
            decoder=self.decoder,
            seed=self.seed,
            machine=CellMachine(device=fabric.device.type, precision=conditions.precision),
            labels=self.labels,
            labelled=labelled(decoded),
            segments=len(session.starts),
            **score_test_part(session, outcome.predicted, task.bin_s).given(),
            blocks=block_sums(
                session.targets[session.validation_end :],
                outcome.predicted[session.validation_end :],
                task.bin_s,
                within(session.starts, session.validation_end, session.bins),
            ),
            parameters=outcome.parameters,
            macs_per_step=outcome.macs_per_step,
            training_seconds=outcome.seconds,
            pretraining=dict(outcome.pretraining),
            steps_to_best=history.steps_to_best if history else None,
            validation_loss=history.validation_loss if history else None,
            steps_by_epoch=history.steps if history else None,
            seconds_by_epoch=history.seconds_by_epoch if history else None,
            stopped_early=history.epochs < conditions.settings.finetune.epochs if history else None,
        )
