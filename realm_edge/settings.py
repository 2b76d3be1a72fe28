"""Settings of a run: frozen, validated, hashable, written to ``config.toml``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from realm_edge.errors import UserError
from realm_edge.files import sha256_json, write_text
from realm_edge.toml_file import read_toml, without_format

# A number is one in the file too: no text, no true, and no 1e3 for a whole one. Every number has an upper bound, far above what is of
# use: nothing that a file says makes memory or time grow without end.
Fraction = Annotated[float, Field(strict=True, gt=0.0, lt=1.0)]
Share = Annotated[float, Field(strict=True, ge=0.0, lt=1.0)]
Rate = Annotated[int, Field(strict=True, gt=0, le=1_000_000)]  # Hz
Hertz = Annotated[float, Field(strict=True, gt=0.0, le=1e6)]
Bins = Annotated[int, Field(strict=True, gt=0, le=100_000)]
Epochs = Annotated[int, Field(strict=True, gt=0, le=100_000)]
Width = Annotated[int, Field(strict=True, gt=0, le=8192)]
Weight = Annotated[float, Field(strict=True, ge=0.0, le=1e6)]
Seconds = Annotated[float, Field(strict=True, ge=20.0, le=86400.0)]


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("not a power of two")
    return value


def _not_one(value: int) -> int:
    if value == 1:
        raise ValueError("one bin has no deviation")
    return value


# In bins; a shift on the implant.
TimeConstant = Annotated[int, Field(strict=True, ge=1, le=1024), AfterValidator(_power_of_two)]
ZscoreBins = Annotated[
    int, Field(strict=True, ge=0, le=2**16), AfterValidator(_power_of_two), AfterValidator(_not_one)
]  # 0: no running z-score

FORMAT = "realm-edge settings/1"  # of a TOML file of them


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LfpSettings(_Section):
    """Causal LFP front end; one ADC sample of all channels per tick."""

    rate_hz: Rate = 500  # twice the upper end of the highest band and a quarter more; 1 kHz told no more (realm-edge study features)
    highpass_hz: Hertz = 0.5
    line_hz: Annotated[float, Field(strict=True, ge=0.0, le=1e6)] = 60.0  # 0 leaves the notch out
    line_q: Annotated[float, Field(strict=True, gt=0.0, le=1e4)] = 30.0
    # A band costs cycles for every sample, and is late by as much as it is narrow: 6-10 Hz by 80 ms. With 2-6, 6-10 and 10-15 Hz in place
    # of the first, ridge errs 2 to 4 % less on the training part of two rodents' running speed (docs/results.md).
    bands_hz: Annotated[tuple[tuple[Hertz, Hertz], ...], Field(max_length=64)] = (
        (6.0, 15.0),
        (15.0, 35.0),
        (35.0, 70.0),
        (70.0, 200.0),
    )
    # Of the leaky mean of a band's power before the logarithm; 1: the bin alone. On the synthetic recordings ridge gains 0.04 to 0.06 with
    # 2 and next to nothing more with 4, which blurs what a recurrent decoder could still tell apart.
    power_bins: TimeConstant = 2
    zscore_bins: ZscoreBins = 0

    @model_validator(mode="after")
    def _filters_fit_the_rate(self) -> "LfpSettings":
        for name, hertz in (("highpass_hz", self.highpass_hz), ("line_hz", self.line_hz)):
            if hertz >= self.rate_hz / 2:
                raise ValueError(f"{name} {hertz} does not lie below half of rate_hz, {self.rate_hz / 2} Hz")
        for low, high in self.bands_hz:
            if not low < high < self.rate_hz / 2:
                raise ValueError(f"bands_hz: band {low}-{high} Hz does not fit between 0 and half of rate_hz, {self.rate_hz / 2} Hz")
            if high <= self.highpass_hz:
                raise ValueError(f"bands_hz: nothing is left of band {low}-{high} Hz above highpass_hz {self.highpass_hz}")
        return self


# Of more features than an implant's presets have: of everything that was measured before those were chosen, and of the paper's presets.
SIX_BANDS = LfpSettings(rate_hz=1000, bands_hz=((2.0, 6.0), (6.0, 10.0), (10.0, 15.0), (15.0, 35.0), (35.0, 70.0), (70.0, 200.0)))


class SpikeSettings(_Section):
    """Causal spike front end of the baseline: high-pass, threshold crossing, counts."""

    rate_hz: Rate = 30000
    highpass_hz: Hertz = 300.0
    threshold_sd: Annotated[float, Field(strict=True, gt=0.0, le=1000.0)] = 4.5  # times the robust noise level, below zero
    zscore_bins: ZscoreBins = 0  # of the counts, from the spike front end or of sorted units

    @model_validator(mode="after")
    def _highpass_fits_the_rate(self) -> "SpikeSettings":
        if self.highpass_hz >= self.rate_hz / 2:
            raise ValueError(f"highpass_hz {self.highpass_hz} does not lie below half of rate_hz, {self.rate_hz / 2} Hz")
        return self


class ModelSettings(_Section):
    """One Mamba-2 stack; symbols as in state-spaces/mamba."""

    d_model: Width
    n_layer: Annotated[int, Field(strict=True, gt=0, le=256)]
    d_state: Width
    headdim: Width
    expand: Annotated[int, Field(strict=True, gt=0, le=16)] = 2
    d_conv: Annotated[int, Field(strict=True, ge=2, le=8)] = 4
    tokenizer: Literal["linear", "channel"] = "linear"  # channel: shared convolution and channel attention first, as in the paper

    @property
    def d_inner(self) -> int:
        return self.expand * self.d_model

    @property
    def nheads(self) -> int:
        return self.d_inner // self.headdim

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelSettings":
        if self.d_inner % self.headdim:
            raise ValueError(f"headdim {self.headdim} does not divide expand * d_model = {self.d_inner}")
        return self


class FitSettings(_Section):
    """One training phase."""

    epochs: Epochs
    lr: Annotated[float, Field(strict=True, ge=0.0, le=10.0)] = 0.0  # 0: found by a range test, for each decoder and recording
    weight_decay: Annotated[float, Field(strict=True, ge=0.0, le=100.0)] = 1e-2
    batch: Annotated[int, Field(strict=True, gt=0, le=65536)] = 16
    patience: Epochs = 10
    dropout: Share = 0.1
    schedule: Annotated[str, Field(pattern="^(cosine|constant|exponential)$")] = "cosine"  # of lr; exponential: x 0.995 an epoch
    warmup_epochs: Annotated[float, Field(strict=True, gt=0.0, le=100_000.0)] = 0.9  # in which the rate rises to lr, in a straight line
    warmup_from: Share = 0.1  # of lr, in the first step
    average: Fraction = 0.98  # decay per step of the moving average of the weights that is validated and kept


class FinetuneSettings(FitSettings):
    """Training on the behaviour of the decoded session, of the student as of every decoder that it is compared with."""

    # So many decoders are fitted first, and their mean teaches the one that is kept, beside the labels; 1: none but that one.
    members: Annotated[int, Field(strict=True, ge=1, le=5)] = 1


class PretrainSettings(FitSettings):
    """Masked autoencoding of the teacher (REALM, section on pretraining)."""

    masked_fraction: Fraction = 0.6
    block_bins: tuple[Bins, Bins] = (5, 25)  # the shortest and the longest masked block
    channel_dropout: Share = 0.15
    noise_sd: Annotated[float, Field(strict=True, ge=0.0, le=100.0)] = 0.05
    target: Literal["features", "low-passed", "whitened", "predictable"] = "features"  # see realm_edge.training.reconstruction
    # Of a training window and the next; REALM's code has 0.5. Windows begin anywhere here in each epoch: it makes an epoch longer, no more.
    overlap: Share = 0.0
    # Chance that a window skips the teacher's last block in a step, rising from 0 at the first: stochastic depth; REALM's code has 0.1.
    drop_path: Share = 0.0

    @model_validator(mode="after")
    def _blocks_in_order(self) -> "PretrainSettings":
        shortest, longest = self.block_bins
        if shortest > longest:
            raise ValueError(f"block_bins: the shortest block, {shortest}, is longer than the longest, {longest}")
        return self


class DistilSettings(FitSettings):
    """L = w_repr * mean(1 - cos(student, teacher)) + w_task * MSE(behaviour) + w_ae * MSE(reconstruction)."""

    w_repr: Weight = 1.0
    w_task: Weight = 1.0  # 0 in REALM's second code: no label enters, and fine-tuning begins with a read-out that nothing has trained
    w_ae: Weight = 0.1
    # Copied: the student's starts as the teacher's, and fine-tuning leaves it as distillation made it (REALM's second code).
    tokenizer: Literal["own", "copied"] = "own"
    # Two layers: with d_model values and a GELU between, scored at 30 % of the bins of a step (REALM's code).
    reconstruction: Literal["linear", "two-layer"] = "linear"

    @model_validator(mode="after")
    def _something_counts(self) -> "DistilSettings":
        if self.w_repr == self.w_task == self.w_ae == 0:
            raise ValueError("w_repr, w_task and w_ae are all 0: nothing would be learnt")
        return self


class SyntheticSettings(_Section):
    """The default recordings. Synthetic: they say nothing about brains."""

    version: Annotated[int, Field(strict=True, ge=1, le=2)] = 2  # of the generator: docs/generator.md holds both against the literature
    sessions: Annotated[int, Field(strict=True, ge=2, le=1000)] = 4  # the last one is held out
    seconds: Seconds = 120.0
    heldout_seconds: Seconds = 240.0
    channels: Annotated[int, Field(strict=True, ge=4, le=4096)] = 32
    units: Annotated[int, Field(strict=True, gt=0, le=4096)] = 24
    signal: Annotated[float, Field(strict=True, ge=0.0, le=100.0)] = (
        1.0  # times how much movement modulates LFP and spikes; noise and nuisances stay
    )
    days_apart: Annotated[float, Field(strict=True, ge=0.0, le=10_000.0)] = (
        0.0  # between sessions; 0: a mild drift, no units lost or electrodes that age
    )


class SplitSettings(_Section):
    """Chronological split of the session that is decoded; the rest is the test part."""

    train: Fraction = 0.72
    validation: Fraction = 0.08


Activations = Literal["int8", "int16"]


class QuantizeSettings(_Section):
    """The integer decoder. Weights are int8."""

    activations: Activations = "int8"  # what linear layers read: int16 errs a third as much, and costs cycles where int8 has instructions


class Settings(_Section):
    """Everything that decides a run's result. Equal settings and inputs give equal results on the CPU."""

    preset: str = "demo"
    seed: Annotated[int, Field(strict=True, ge=0, le=2**53)] = 0
    bin_ms: Annotated[int, Field(strict=True, gt=0, le=10_000)] = 20
    window_bins: Bins = 250  # training segment; longer than the longest block that pretraining masks
    behavior_transform: Annotated[str, Field(pattern="^(none|log|circular)$")] = "none"  # log: ln(max(x, 0) + 1); circular: cos, sin
    # The answer at a bin's end is the behaviour this long before: the decoder sees some of its future, and the implant is that much later.
    output_delay_ms: Annotated[int, Field(strict=True, ge=0, le=60_000)] = 0
    lfp: LfpSettings = LfpSettings()
    spike: SpikeSettings = SpikeSettings()
    synthetic: SyntheticSettings = SyntheticSettings()
    split: SplitSettings = SplitSettings()
    teacher: ModelSettings = ModelSettings(d_model=64, n_layer=2, d_state=16, headdim=32)
    student: ModelSettings = ModelSettings(d_model=32, n_layer=2, d_state=16, headdim=16)
    pretrain: PretrainSettings = PretrainSettings(epochs=40, lr=3e-3)
    distil: DistilSettings = DistilSettings(epochs=60, patience=15, dropout=0.3)
    finetune: FinetuneSettings = FinetuneSettings(epochs=60, patience=15, dropout=0.3)
    quantize: QuantizeSettings = QuantizeSettings()
    transformer_bins: Annotated[int, Field(strict=True, gt=0, le=10_000)] = 50  # that a layer of the transformer among the baselines sees

    @property
    def lfp_samples_per_bin(self) -> int:
        return self.lfp.rate_hz * self.bin_ms // 1000

    @property
    def spike_samples_per_bin(self) -> int:
        return self.spike.rate_hz * self.bin_ms // 1000

    @model_validator(mode="after")
    def _bins_hold_whole_samples(self) -> "Settings":
        for name, rate in (("lfp", self.lfp.rate_hz), ("spike", self.spike.rate_hz)):
            if rate * self.bin_ms % 1000:
                raise ValueError(f"bin_ms {self.bin_ms} does not hold a whole number of {name} samples at {rate} Hz")
        if self.output_delay_ms % self.bin_ms:
            raise ValueError(f"output_delay_ms {self.output_delay_ms} is no multiple of bin_ms {self.bin_ms}")
        if self.split.train + self.split.validation >= 1.0:
            raise ValueError("split.train + split.validation leaves no test part")
        return self

    @model_validator(mode="after")
    def _windows_hold_more_than_a_block(self) -> "Settings":
        longest = self.pretrain.block_bins[1]
        if self.window_bins <= longest:
            raise ValueError(
                f"window_bins {self.window_bins} is not longer than the longest block that pretraining masks, pretrain.block_bins "
                f"{list(self.pretrain.block_bins)}: raise window_bins, or lower block_bins"
            )
        return self

    @model_validator(mode="after")
    def _a_copied_tokenizer_fits(self) -> "Settings":
        for name in ("d_model", "tokenizer"):
            teacher, student = getattr(self.teacher, name), getattr(self.student, name)
            if self.distil.tokenizer == "copied" and teacher != student:
                raise ValueError(
                    f"distil.tokenizer 'copied' needs equal tokenizers, but teacher.{name} is {teacher} and student.{name} {student}: "
                    "make them equal, or use 'own'"
                )
        return self

    def digest(self) -> str:
        """SHA-256 of the settings, as hex."""
        return sha256_json(self.model_dump(mode="json"))


# What REALM's second code does otherwise than our presets, and what is no matter of size, rate, batch or length (docs/paper.md).
REALM_RECIPE: Mapping[str, Mapping[str, Any]] = {
    "pretrain": {"overlap": 0.5, "drop_path": 0.1},
    "distil": {"w_repr": 1.0, "w_task": 0.0, "w_ae": 1.0, "tokenizer": "copied", "reconstruction": "two-layer"},
}


def _implant(name: str, teacher: ModelSettings, student: ModelSettings, recipe: Mapping[str, Mapping[str, Any]] = {}) -> Settings:
    """For a microcontroller. The teacher's learning rate is ``demo``'s, divided by how much wider it is; that was not tuned."""
    demo = Settings()
    pretrain = demo.pretrain.lr * demo.teacher.d_model / teacher.d_model
    return Settings(
        preset=name,
        teacher=teacher,
        student=student,
        pretrain=demo.pretrain.model_copy(update={"lr": pretrain, **recipe.get("pretrain", {})}),
        distil=demo.distil.model_copy(update=recipe.get("distil", {})),
    )


def _realm(name: str, student: ModelSettings) -> Settings:
    """The paper's sizes and training (``docs/paper.md``), for 96 channels and a computer: no student of them fits an implant's part.

    A pretraining step takes the 24 windows of one of the paper's 16 processes: 384 do not fit one GPU.
    """
    return Settings(
        preset=name,
        bin_ms=10,
        window_bins=500,
        lfp=SIX_BANDS,
        synthetic=SyntheticSettings(channels=96),
        teacher=ModelSettings(d_model=256, n_layer=10, d_state=64, headdim=64, tokenizer="channel"),
        student=student,
        pretrain=PretrainSettings(
            epochs=300,
            lr=1.53e-3,
            weight_decay=1e-5,
            batch=24,
            patience=30,
            schedule="exponential",
            warmup_epochs=30.0,
            warmup_from=0.3,
            block_bins=(10, 50),
            **REALM_RECIPE["pretrain"],
        ),
        distil=DistilSettings(epochs=300, lr=5e-4, weight_decay=1e-5, batch=32, patience=30, **REALM_RECIPE["distil"]),
        finetune=FinetuneSettings(epochs=100, lr=5e-4, weight_decay=1e-5, batch=32, patience=20),
    )


PRESETS: dict[str, Settings] = {
    settings.preset: settings
    for settings in (
        Settings(),
        _implant(
            "implant-s",
            teacher=ModelSettings(d_model=64, n_layer=2, d_state=16, headdim=32),
            student=ModelSettings(d_model=48, n_layer=2, d_state=16, headdim=16),
        ),
        _implant(
            "implant-m",
            teacher=ModelSettings(d_model=96, n_layer=2, d_state=32, headdim=32),
            student=ModelSettings(d_model=64, n_layer=3, d_state=16, headdim=32),
        ),
        _implant(
            "implant-l",
            teacher=ModelSettings(d_model=128, n_layer=3, d_state=32, headdim=32),
            student=ModelSettings(d_model=96, n_layer=4, d_state=32, headdim=32),
        ),
        _implant(  # implant-s by REALM's recipe, whose teacher has the student's tokenizer
            "implant-s-realm",
            teacher=ModelSettings(d_model=48, n_layer=2, d_state=16, headdim=16),
            student=ModelSettings(d_model=48, n_layer=2, d_state=16, headdim=16),
            recipe=REALM_RECIPE,
        ),
        _realm("realm-s", student=ModelSettings(d_model=256, n_layer=8, d_state=64, headdim=64, expand=1, tokenizer="channel")),
        _realm("realm", student=ModelSettings(d_model=256, n_layer=10, d_state=64, headdim=64, tokenizer="channel")),
    )
}


def preset(name: str) -> Settings:
    """Look a preset up by name.

    Raises:
        UserError: there is no such preset; the message lists those there are.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset '{name}': use one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def load(path: Path, base: Settings | None = None) -> Settings:
    """Read a TOML file of settings; what it leaves out comes from ``base`` (default: the preset that it names, else ``demo``).

    Raises:
        UserError: missing file, broken TOML, unknown field, value out of range or settings that contradict each other; the message
            names file and field.
    """
    values = without_format(read_toml(path), FORMAT, str(path))
    name = values.get("preset", "demo")
    if name not in list(PRESETS):  # a list: what is no text may have no hash
        raise UserError(f"{path}: preset: unknown preset {name!r:.80}: use one of {', '.join(sorted(PRESETS))}")
    start = (base or preset(name)).model_dump(mode="json")
    try:
        return Settings.model_validate(_merged(start, values))
    except ValidationError as error:
        raise UserError(f"{path}: {flaw(error)}") from error


def flaw(error: ValidationError, whole: str = "settings") -> str:
    """What is wrong with settings, or with another ``whole``, as one line: field, reason and value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])[:80] or whole
    value = "" if isinstance(first["input"], dict | BaseModel) else f" (value {first['input']!r:.80})"
    return f"{field}: {first['msg'].removeprefix('Value error, ')}{value}"


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """``settings`` with some values replaced, nested as in a TOML file; what does not go together raises pydantic's ValidationError."""
    return Settings.model_validate(_merged(settings.model_dump(mode="json"), changes))


def save(settings: Settings, path: Path) -> None:
    """Write ``settings`` as TOML, atomically."""
    write_text(path, text_of(settings))


def text_of(settings: Settings) -> str:
    """``settings`` as TOML; equal ones give equal text."""
    return tomli_w.dumps({"format": FORMAT, **settings.model_dump(mode="json")})


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return merged
