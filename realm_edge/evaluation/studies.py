"""The studies, each a list of variants: what is changed, and which decoders are trained on it.

:mod:`realm_edge.evaluation.study` runs them.
A study that changes how sessions are prepared or standardised gives its variants a :class:`realm_edge.evaluation.tasks.Chain`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from realm_edge.evaluation.tasks import CAUSAL, Chain
from realm_edge.evaluation.zero_phase import WHOLE_SESSION, ZERO_PHASE
from realm_edge.settings import REALM_RECIPE, SIX_BANDS, Settings, changed


@dataclass(frozen=True)
class Variant:
    """One point of a study."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # what is changed, nested as in a TOML file
    at: float | None = None  # place on the plot's axis; None: side by side
    decoders: tuple[str, ...] = ()  # none: the study's
    without: tuple[str, ...] = ()  # of those
    chain: Chain = CAUSAL
    sessions: int | None = None  # only the last so many of the other sessions pretrain
    labelled: int | None = None  # only the last so many of them keep their labels


@dataclass(frozen=True)
class Study:
    """A question, and how it is asked."""

    question: str
    axis: str  # of the plot
    variants: Callable[[Settings, int], tuple[Variant, ...]]  # from the settings and the number of other sessions
    decoders: tuple[str, ...]
    labels: tuple[float, ...] = (1.0,)
    logarithmic: bool = False
    against_first: bool = False  # differences are to the first variant's first decoder; else to the same decoder in the first variant
    validation: bool = False  # judged by the validation part alone: the test part is neither shown nor used
    seeds_after: int = 0  # added to the first seed, so that what is chosen here is not chosen on the seeds that are reported


def _noise(settings: Settings, others: int) -> tuple[Variant, ...]:
    return tuple(Variant(f"signal x {signal:g}", {"synthetic": {"signal": signal}}, signal) for signal in (0.25, 0.5, 1.0, 2.0))


def _delay(settings: Settings, others: int) -> tuple[Variant, ...]:
    return tuple(Variant(f"{late} ms late", {"output_delay_ms": late}, late) for late in (0, 100, 300, 500))


def _pretraining(settings: Settings, others: int) -> tuple[Variant, ...]:
    counts = range(1, min(others, 3) + 1)
    return (
        Variant("no pretraining", at=0, decoders=("scratch",)),
        *(Variant(f"{count} session{'s' * (count > 1)}", at=count, sessions=count) for count in counts),
    )


def _labelled(settings: Settings, others: int) -> tuple[Variant, ...]:
    return (
        Variant("no other session labelled", at=0, labelled=0, without=("student", "supervised", "wiener_pretrained")),
        *(Variant(f"{count} labelled", at=count, labelled=count) for count in (1, 2) if count < others),
        Variant(f"all {others} labelled", at=others),
    )


def _causality(settings: Settings, others: int) -> tuple[Variant, ...]:
    return tuple(Variant(chain.name, chain=chain) for chain in (CAUSAL, ZERO_PHASE, WHOLE_SESSION))


def _losses(settings: Settings, others: int) -> tuple[Variant, ...]:
    terms = ("w_repr", "w_task", "w_ae")
    weights = {"v1": (1.0, 1.0, 0.1), "v2": (1.0, 0.0, 1.0)}  # of the paper's code; docs/paper.md
    return (
        Variant("all terms"),
        Variant("without alignment (w_repr)", {"distil": {"w_repr": 0.0}}),
        Variant("without behaviour (w_task)", {"distil": {"w_task": 0.0}}),
        Variant("without reconstruction (w_ae)", {"distil": {"w_ae": 0.0}}),
        *(Variant(f"weights of {name}", {"distil": dict(zip(terms, values, strict=True))}) for name, values in weights.items()),
    )


def _recipe(settings: Settings, others: int) -> tuple[Variant, ...]:
    student = settings.student
    alike = {name: getattr(student, name) for name in ("d_model", "headdim", "tokenizer")}  # or nothing could be copied
    labelled = {**REALM_RECIPE["distil"], "w_task": 1.0}
    narrowed = [] if changed(settings, {"teacher": alike}) == settings else [Variant("teacher as wide as the student", {"teacher": alike})]
    return (
        Variant("as set"),
        *narrowed,
        Variant("REALM recipe", {"teacher": alike, **REALM_RECIPE}),
        Variant("REALM recipe with labels", {"teacher": alike, **REALM_RECIPE, "distil": labelled}),
    )


def _targets(settings: Settings, others: int) -> tuple[Variant, ...]:
    names = {"features": "all of a bin", "predictable": "weighted by what is predictable"}
    kinds = ("features", "low-passed", "whitened", "predictable")
    return tuple(Variant(names.get(kind, kind), {"pretrain": {"target": kind}}) for kind in kinds)


def _rate(settings: Settings, others: int) -> tuple[Variant, ...]:
    return tuple(Variant(f"lr {rate:g}", {"finetune": {"lr": rate}}, rate) for rate in (0.001, 0.002, 0.004, 0.008, 0.016, 0.032))


_BETA, _LOW_GAMMA, _HIGH_GAMMA = (15.0, 35.0), (35.0, 70.0), (70.0, 200.0)
_SIX = SIX_BANDS.bands_hz
_FEWER = {
    "four bands": ((6.0, 15.0), _BETA, _LOW_GAMMA, _HIGH_GAMMA),  # the presets'
    "three bands": (_BETA, _LOW_GAMMA, _HIGH_GAMMA),
    "two bands": (_BETA, _HIGH_GAMMA),
    "one band": (_HIGH_GAMMA,),
}


def _front_end(name: str, rate_hz: int, bands: tuple[tuple[float, float], ...]) -> Variant:
    return Variant(name, {"lfp": {"rate_hz": rate_hz, "bands_hz": bands}})


def _features(settings: Settings, others: int) -> tuple[Variant, ...]:
    return (
        _front_end("six bands, 1 kHz", 1000, _SIX),
        _front_end("six bands, 500 Hz", 500, _SIX),
        _front_end("six bands to 150 Hz, 400 Hz", 400, (*_SIX[:-1], (70.0, 150.0))),
        *(_front_end(f"{name}, 500 Hz", 500, bands) for name, bands in _FEWER.items()),
    )


def _presets(settings: Settings, others: int) -> tuple[Variant, ...]:
    return tuple(variant for variant in _features(settings, others) if variant.name in ("six bands, 1 kHz", "four bands, 500 Hz"))


def _spiking_band(settings: Settings, others: int) -> tuple[Variant, ...]:
    bands, spiking = _FEWER["four bands"], (300.0, 1000.0)
    return (
        _front_end("four bands, 500 Hz", 500, bands),
        _front_end("four bands and 300-1000 Hz, 3 kHz", 3000, (*bands, spiking)),
        Variant("300-1000 Hz, 3 kHz", {"lfp": {"rate_hz": 3000, "highpass_hz": 100.0, "line_hz": 0.0, "bands_hz": (spiking,)}}),
    )


def _spike_rate(settings: Settings, others: int) -> tuple[Variant, ...]:
    return tuple(Variant(f"{rate // 1000} kHz", {"spike": {"rate_hz": rate}}, rate / 1000) for rate in (30000, 15000, 10000))


HINDSIGHT = (
    *("student", "unlabelled", "hindsight", "hindsight_safe", "hindsight_own", "restarted", "supervised", "autoencoded", "scratch"),
    *("wiener", "wiener_pretrained", "teacher"),
)
CLAIMED = ("student", "student_half", "supervised", "scratch", "gru", "gru_pretrained", "wiener", "teacher")

STUDIES: dict[str, Study] = {
    "noise": Study(
        "How does the comparison depend on how strongly movement modulates the synthetic recordings?",
        "modulation by movement, times the default",
        _noise,
        CLAIMED,
        labels=(0.1, 0.25, 1.0),
        logarithmic=True,
    ),
    "delay": Study(
        "What does it buy to answer late?",
        "output delay, ms",
        _delay,
        ("student", "scratch", "gru", "wiener", "teacher"),
    ),
    "pretraining": Study(
        "What does which pretraining buy, by number of other sessions and share of labels?",
        "sessions that pretrain",
        _pretraining,
        ("student", "autoencoded", "supervised"),
        labels=(0.1, 0.25, 1.0),
        against_first=True,
    ),
    "hindsight": Study(
        "What does it buy that the teacher relabels what has no label, by how many other sessions have labels?",
        "other sessions with labels",
        _labelled,
        HINDSIGHT,
        labels=(0.0, 0.1),
    ),
    "causality": Study(
        "What does it cost that filters and statistics are causal?",
        "front end",
        _causality,
        ("student", "scratch", "wiener", "teacher"),
    ),
    "losses": Study(
        "What does each term of the distillation loss buy?",
        "loss of the distillation",
        _losses,
        ("student",),
        labels=(0.1, 1.0),
    ),
    "recipe": Study(
        "What does REALM's recipe of distillation do here, and what of it is that no label enters?",
        "recipe",
        _recipe,
        ("student", "student_ridge", "teacher_ridge"),
        labels=(0.1, 1.0),
    ),
    "targets": Study(
        "What should masked autoencoding predict of a masked bin?",
        "target of the pretraining",
        _targets,
        ("student", "student_ridge", "teacher_ridge"),
        labels=(0.1, 1.0),
    ),
    "features": Study("What do cheaper features of the LFP cost?", "front end", _features, ("wiener",)),
    "front-end": Study("What does the presets' front end cost, against one of more bands?", "front end", _presets, ("student", "wiener")),
    "spiking-band": Study("What does the power of 300 to 1,000 Hz tell?", "front end", _spiking_band, ("scratch", "wiener")),
    "spike-rate": Study(
        "What does it cost to sample spikes more slowly?", "rate of the ADC, kHz", _spike_rate, ("spike_scratch", "spike_wiener")
    ),
    "rate": Study(
        "Which learning rate of the training on the decoded session suits all arms?",
        "learning rate",
        _rate,
        ("student", "supervised", "scratch", "gru", "lstm", "transformer", "gru_pretrained"),
        logarithmic=True,
        validation=True,
        seeds_after=1000,
    ),
}
