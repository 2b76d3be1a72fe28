"""What comparisons and studies write down: result files, ``evaluation.json`` and ``study.json``. Light to import."""

from typing import Any

from realm_edge.documents import Form, Number
from realm_edge.summaries import HeldOutScores

EVALUATION = "realm-edge evaluation/2"  # evaluation.json
STUDY = "realm-edge study/2"  # study.json
STABILITY = "realm-edge stability study/1"  # study.json of the study of stability
INFORMATION = "realm-edge information study/1"  # study.json of the study of information

Interval = tuple[Number, Number]  # 95 %


class PhaseCost(Form):
    """What a phase of pretraining took."""

    epochs: int
    steps: int  # of the optimiser
    seconds: Number
    stopped_early: bool


class CellMachine(Form):
    """What a cell was trained on."""

    device: str
    precision: str


class Labelled(Form):
    """Bins of known behaviour that a decoder may learn from."""

    training: int
    validation: int


class CellResult(HeldOutScores):
    """One decoder on one session, seed and share of labels. What is None is not known of a decoder that is fitted in one go."""

    command: str
    session: str
    synthetic: bool
    decoder: str
    seed: int
    machine: CellMachine
    labels: Number  # share of the training part whose behaviour is known
    labelled: Labelled
    segments: int
    blocks: list[list[list[Number]]]  # of the test part, see realm_edge.evaluation.blocks.block_sums
    parameters: int
    macs_per_step: int
    training_seconds: Number  # on the decoded session
    pretraining: dict[str, PhaseCost]  # before that, by phase
    steps_to_best: int | None
    validation_loss: tuple[Number, ...] | None  # by epoch, as the next two
    steps_by_epoch: tuple[int, ...] | None
    seconds_by_epoch: tuple[Number, ...] | None
    stopped_early: bool | None

    @property
    def least_loss(self) -> float:
        """On the validation part, of a decoder that is trained step by step."""
        return min(self.validation_loss or ())


class Reached(Form):
    """Mean steps and seconds of training until a loss is reached, over the cells in which it is; None where it is in none."""

    reached: int
    steps: Number | None
    seconds: Number | None


class OwnBest(Reached):
    """The same of a decoder's own best."""

    validation_loss: Number


class Race(Form):
    """The training of a first and a second decoder, which see the same labels, on the decoded session."""

    cells: int
    best: OwnBest  # of the second
    first: Reached  # until the first is as good as the second at its best
    second: Reached  # until the second is as good as the first at its best
    ratio: Number | None  # geometric mean of the first's steps over the second's own to that loss, over the same cells as "first"
    # Decoded sessions until what the first saves on each, in seconds to that loss, is what its pretraining took; None: it saves nothing, or
    # is not as good in every cell.
    repaid_after: Number | None


class TrainedRow(Form):
    """One decoder and share of labels: means over seeds and sessions, but for what it scores on the test part."""

    decoder: str
    label: str  # for people
    chance: bool
    labels: Number  # share of the training part
    labelled: Labelled
    cells: int
    parameters: int
    macs_per_step: int
    training_seconds: Number
    pretraining_seconds: Number
    pretraining_steps: int
    steps_to_best: Number | None
    validation_loss: Number | None  # the least, standardised
    stopped_early: Number | None  # share of the cells
    pretraining_stopped_early: Number | None
    race: Race | None  # of the student against it


class ScoredRow(TrainedRow):
    """The same with its scores."""

    r2: Number
    r2_interval: Interval | None
    r2_with_history: Number | None
    r2_by_axis: dict[str, Number]
    r: Number
    student_gain: Number | None  # R2 of the student minus its own
    student_gain_interval: Interval | None
    student_gain_test_interval: Interval | None  # over blocks of the test parts


class Evaluation(Form):
    """``evaluation.json``."""

    command: str
    settings: str  # SHA-256
    caption: str
    synthetic: bool
    sessions: tuple[str, ...]
    seeds: tuple[int, ...]
    target_names: tuple[str, ...]
    segmented: bool  # whether a session has more than one segment
    rows: tuple[ScoredRow, ...]


class InStudy(Form):
    """Where a row belongs in a study."""

    variant: str
    at: Number | None  # on the axis
    change: Number | None  # of the score, against the reference; None of the reference itself
    change_interval: Interval | None


class StudyRow(ScoredRow, InStudy):
    """One decoder of one variant."""


class ValidatedRow(TrainedRow, InStudy):
    """One decoder of one variant, in a study that leaves the test part alone."""


class VariantSettings(Form):
    """What a variant changes."""

    variant: str
    settings: dict[str, Any]


class StudySummary(Form):
    """``study.json``."""

    study: str
    command: str
    settings: str  # SHA-256
    caption: str
    question: str
    axis: str
    logarithmic: bool
    score: str  # "r2" or "validation_loss"
    synthetic: bool
    segmented: bool
    changes: tuple[VariantSettings, ...]
    rows: tuple[StudyRow | ValidatedRow, ...]


class Way(Form):
    """One way to decode a later day."""

    input: str  # "LFP" or "spikes"
    decoder: str
    statistics: str  # "frozen" or "running"
    refit: bool


class DayScore(Way):
    """One day of one array; ``day`` counts from the training day."""

    day: Number
    r2: Number
    r: Number


class ArrayResult(Form):
    """One array, from its training day on."""

    command: str
    seed: int
    seconds: Number
    rows: tuple[DayScore, ...]


class DayMean(Form):
    """Over arrays."""

    day: Number
    r2: Number
    r2_interval: Interval | None


class StabilityLine(Way):
    """One way, day by day."""

    days: tuple[DayMean, ...]


class StabilitySummary(Form):
    """``study.json`` of the study of stability."""

    study: str
    command: str
    settings: str  # SHA-256
    synthetic: bool
    question: str
    caption: str
    arrays: tuple[int, ...]  # their seeds
    lines: tuple[StabilityLine, ...]


class Told(Form):
    """R2 of a linear prediction, and of the same after circular shifts."""

    r2: Number | None  # None where nothing changes in what is scored
    chance: Number | None  # the greatest after shifts

    @property
    def above_chance(self) -> bool:
        return self.r2 is not None and self.chance is not None and self.r2 > self.chance


class ToldAtDistance(Told):
    """Of the masked bins that are so far away from the nearest one that is seen."""

    nearest: int
    farthest: int | None  # None: any
    share: Number  # of the masked bins


class ToldByComponents(Form):
    """What the first principal components hold."""

    components: int
    variance: Number  # their share, training part
    r2: Number  # of the target from them, test part


class InputInformation(Form):
    """What is in one input of a session; all R2 on its test part."""

    input: str  # "LFP" or "spikes"
    inputs: int  # that change in the training part
    channels: int  # they belong to
    masked: Told  # the inputs of a masked bin, from what is seen around it
    by_distance: tuple[ToldAtDistance, ...]
    other_channels: Told | None  # the inputs of a channel, from other channels in the same bin; None where there is one channel
    components: tuple[ToldByComponents, ...]  # 1, 2, 4 and so on, and all
    target: Told  # from all components
    target_from_bin: Told  # at the masked bins, from the bin itself
    target_from_prediction: Told  # at the masked bins, from what is told of the bin
    kept: Number | None  # the last over the one before; None where that one is not above chance
    verdict: str


class SessionInformation(Form):
    """One session."""

    command: str
    session: str
    synthetic: bool
    segments: int
    seconds: Number  # that it took
    masked_fraction: Number  # of the bins of the test part, as drawn
    inputs: tuple[InputInformation, ...]


class InformationSummary(Form):
    """``study.json`` of the study of information."""

    study: str
    command: str
    settings: str  # SHA-256
    synthetic: bool
    question: str
    caption: str
    sentences: tuple[str, ...]  # one a session and input
    sessions: tuple[SessionInformation, ...]
