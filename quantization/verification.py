"""Integer step graphs over long input, over hostile input, and after their state was lost."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import Stepper
from quantization.adversarial import adversarial
from quantization.calibrate import WARM_UP_BINS
from quantization.drive import Int8Chain, decoded_rows, feature_rows
from quantization.endurance import endurance
from quantization.golden import float_decoded, in_units
from quantization.ladder import Differs, SideBySide
from quantization.recorded import Recorded
from quantization.reset import settling
from quantization.summaries import HostileInput, Ladder, LongRun, Resets, ToldDifference, VerifiedStream
from realm_edge.progress import Progress


@dataclass(frozen=True)
class Plan:
    """How long everything is."""

    ladder_bins: int = 10_000
    frontend_ticks: int = 200_000  # of the ladder, for front ends that do not follow (see ``follows``); --bins takes all
    adversarial_bins: int = 25  # of each input through the front end, and of the recorded input behind it
    adversarial_steps: int = 250  # the same straight into the decoder
    silence_s: float = 60.0
    endurance_s: float = 600.0
    followed_ticks: int = 1_500_000  # front ends with more ticks in endurance_s do not follow
    window_s: float = 10.0  # of one error
    compared_s: float = 60.0  # at the start and end of the endurance run
    resets: int = 8
    reset_s: float = 10.0  # watched after each


@dataclass(frozen=True)
class Subject:
    """One stream under test."""

    graphs: Int8Chain
    float_decoder: onnx.ModelProto
    recorded: Recorded
    plan: Plan
    progress: Progress

    @property
    def name(self) -> str:
        """Of the stream."""
        return self.recorded.stream.name

    @cached_property
    def follows(self) -> bool:
        """Whether the front end is slow enough to run through the long measurements; else the decoder reads the recording's features."""
        return self.graphs.frontend is not None and self.ticks * self.bins(self.plan.endurance_s) <= self.plan.followed_ticks

    @cached_property
    def ticks(self) -> int:
        """Of the front end, a bin."""
        return len(next(self.recorded.samples(0, 1)))

    def bins(self, seconds: float) -> int:
        """How many these are."""
        return round(1000 * seconds / self.recorded.settings.bin_ms)


def verify(subject: Subject, bins: int | None = None) -> VerifiedStream:
    """Measure one stream.

    Args:
        bins: of the ladder, with all ticks of the front end; None takes those of the plan.
    """
    try:
        ladder, decoded = _ladder(subject, bins)
        hostile = _adversarial(subject)
    except Differs as found:
        subject.progress.say(f"  {found}")
        difference = ToldDifference(**asdict(found.difference), line=str(found))
        return VerifiedStream(ok=False, difference=difference, ladder=None, adversarial=None, endurance=None, reset=None)
    recorded, plan, count = subject.recorded, subject.plan, subject.bins(subject.plan.endurance_s)
    features = recorded.float_features(0, count) if subject.follows else recorded.features(0, count)
    tracked = subject.progress.track(features, f"{subject.name} float decoder", count)
    exact = in_units(float_decoded(subject.float_decoder, tracked), subject.float_decoder)
    int8 = in_units(decoded[:count], subject.graphs.decoder)
    errors = endurance(int8, exact, WARM_UP_BINS, subject.bins(plan.window_s), round(plan.compared_s / plan.window_s))
    long_run = LongRun(
        **errors.given(),
        warm_up_s=WARM_UP_BINS * recorded.settings.bin_ms / 1000,
        seconds=plan.endurance_s,
        window_s=plan.window_s,
        compared_s=plan.compared_s,
        frontend=subject.follows,
        passes=count / recorded.session.bins,
    )
    reset = _reset(subject, int8, exact)
    return VerifiedStream(ok=errors.holds, difference=None, ladder=ladder, adversarial=hostile, endurance=long_run, reset=reset)


def _ladder(subject: Subject, bins: int | None) -> tuple[Ladder, NDArray[np.int16]]:
    """Both graphs beside their references; also the decoder's outputs, (bins, dims), at least as long as the endurance run.

    A front end that follows feeds the decoder in the same pass. Another one is compared by itself, over fewer bins unless
    ``bins`` asks for them, and the decoder reads the recording's own features.
    """
    graphs, recorded, track, name = subject.graphs, subject.recorded, subject.progress.track, subject.name
    steps = bins or subject.plan.ladder_bins
    more = max(subject.bins(subject.plan.endurance_s) - steps, 0)
    rows, rest, frontend_bins = iter(recorded.stored(0, steps)), iter(recorded.stored(steps, more)), 0
    decoder, frontend = SideBySide(graphs.decoder), None
    if graphs.frontend is not None:
        frontend = SideBySide(graphs.frontend)
        if subject.follows:
            rows, rest = (
                feature_rows(frontend, recorded.samples(0, steps)),
                feature_rows(frontend.fast, recorded.samples(steps, more)),
            )
            frontend_bins = steps
        else:
            frontend_bins = bins or min(steps, max(1, subject.plan.frontend_ticks // subject.ticks))
            blocks = track(recorded.samples(0, frontend_bins), f"{name} front end against the reference", frontend_bins)
            deque(feature_rows(frontend, blocks), maxlen=0)
    decoded = list(decoded_rows(decoder, track(rows, f"{name} against the reference", steps)))
    ladder = Ladder(
        bins=decoder.ticks,
        passes=steps / recorded.session.bins,
        frontend_bins=frontend_bins,
        frontend_ticks=frontend.ticks if frontend is not None else 0,
        frontend_feeds_decoder=subject.follows,
    )
    decoded += decoded_rows(decoder.fast, track(rest, f"{name} to the end of the endurance run", more))
    return ladder, np.array(decoded)


def _adversarial(subject: Subject) -> tuple[HostileInput, ...]:
    """Each hostile input from the zero state, then recorded input; through the front end, and straight into the decoder."""
    graphs, recorded, plan, silent = subject.graphs, subject.recorded, subject.plan, subject.bins(subject.plan.silence_s)
    decoder, frontend = SideBySide(graphs.decoder), SideBySide(graphs.frontend) if graphs.frontend is not None else None
    stored = recorded.stored(0, plan.adversarial_steps)
    jobs: list[tuple[str, str, Iterator[NDArray]]] = [
        ("decoder", name, chain((block[0] for block in blocks), stored))
        for name, blocks in adversarial(1, stored.shape[1], -32767, plan.adversarial_steps, silent).items()
    ]
    if frontend is not None:
        back = list(recorded.samples(0, plan.adversarial_bins))
        ticks, channels = back[0].shape
        inputs = adversarial(ticks, channels, -32768, plan.adversarial_bins, silent)
        jobs += [("front end", name, feature_rows(frontend, chain(blocks, back))) for name, blocks in inputs.items()]
    results = []
    for into, name, rows in subject.progress.track(jobs, f"{subject.name} adversarial input", len(jobs)):
        for each in (decoder, frontend):
            if each is not None:
                each.reset()
        try:
            deque(decoded_rows(decoder, rows), maxlen=0)
        except Differs as found:
            raise Differs(replace(found.difference, during=f"'{name}' into the {into}")) from found
        stepped = frontend.ticks if frontend is not None else 0
        results.append(HostileInput(input=name, into=into, bins=decoder.ticks, frontend_ticks=stepped))
    return tuple(results)


def _reset(subject: Subject, int8: NDArray, exact: NDArray) -> Resets:
    """Both chains from the zero state at several times of the endurance run, whose outputs are ``int8`` and ``exact``."""
    graphs, recorded, window = subject.graphs, subject.recorded, subject.bins(subject.plan.reset_s)
    times = np.linspace(WARM_UP_BINS, len(exact) - window, subject.plan.resets).astype(int).tolist()
    after: dict[str, list[NDArray]] = {"int8": [], "float": []}
    for first in subject.progress.track(times, f"{subject.name} resets", len(times)):
        if graphs.frontend is not None and subject.follows:
            rows, features = feature_rows(Stepper(graphs.frontend), recorded.samples(first, window)), recorded.float_features(first, window)
        else:
            rows, features = iter(recorded.stored(first, window)), recorded.features(first, window)
        after["int8"].append(in_units(np.array(list(decoded_rows(Stepper(graphs.decoder), rows))), graphs.decoder))
        after["float"].append(in_units(float_decoded(subject.float_decoder, features), subject.float_decoder))
    bin_s = recorded.settings.bin_ms / 1000
    settled = {
        name: settling(whole[WARM_UP_BINS:].std(axis=0), after[name], [whole[first : first + window] for first in times], bin_s)
        for name, whole in (("int8", int8), ("float", exact))
    }
    at_s = tuple(first * bin_s for first in times)
    return Resets(at_s=at_s, watched_s=subject.plan.reset_s, frontend=subject.follows, **settled)
