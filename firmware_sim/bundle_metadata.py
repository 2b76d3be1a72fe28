"""``metadata.json`` of a bundle, typed: the compiler writes it, the simulator and others read it."""

from math import prod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from realm_edge.documents import Form

FORMAT = "realm-edge bundle/2"

Count = Annotated[int, Field(ge=0, le=1 << 40, strict=True)]
Size = Annotated[int, Field(ge=1, le=1 << 24, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]  # steps per second


class Tensor(Form):
    """An input or output of a step."""

    name: str
    dtype: Literal["int8", "int16", "int32", "int64"]
    shape: tuple[Size, ...]


class StateTensor(Tensor):
    """Where a state lies in its stage's state block."""

    offset: Count  # bytes

    @property
    def nbytes(self) -> int:
        return np.dtype(self.dtype).itemsize * prod(self.shape)


class Scratch(Form):
    """Where an intermediate tensor lies in the scratch block; several may share bytes, one after another."""

    name: str
    offset: Count  # bytes
    bytes: Count


class Constant(Form):
    """A constant in flash."""

    symbol: str
    dtype: str
    bytes: Count


class Kernel(Form):
    """What one node calls; nodes of equal shape share a symbol.

    ``macs`` are multiply-accumulates per call, as the project counts them; ``constant_bytes`` lie in flash, and so do ``code_bytes``, once
    per symbol.
    """

    symbol: str
    node: str
    op: str
    macs: Count
    code_bytes: Count
    constant_bytes: Count


class Stage(Form):
    """Front end (a step per sample) or decoder (a step per bin)."""

    prefix: str
    rate_hz: Rate
    state_bytes: Count
    scratch_bytes: Count
    weight_bytes: Count
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    states: tuple[StateTensor, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    constants: tuple[Constant, ...] = ()
    kernels: tuple[Kernel, ...] = ()

    @model_validator(mode="after")
    def _states_lie_inside(self) -> "Stage":
        for state in self.states:
            if state.offset + state.nbytes > self.state_bytes:
                raise ValueError(f"state '{state.name}' lies outside the {self.state_bytes} bytes of {self.prefix}")
        return self


class Reset(Form):
    """The calls that start a new segment, and how long what comes after them is start-up."""

    calls: tuple[str, ...]
    warm_up_bins: Count | None  # None: the decoder's graph does not say
    warm_up_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class BundleMetadata(Form):
    """The whole file; ``frontend`` is None where spike counts or features come in by the board."""

    format: Literal["realm-edge bundle/2"]
    made_by: dict[str, str]  # version by package
    stream: str
    target: str  # the build, an entry of firmware_sim/data/builds.toml
    frontend: Stage | None
    decoder: Stage
    reset: Reset
    made_from: dict[str, str]  # SHA-256 of the step graphs

    @model_validator(mode="after")
    def _fits_together(self) -> "BundleMetadata":
        names = [state.name for stage in (self.frontend, self.decoder) if stage for state in stage.states]
        if len(set(names)) != len(names):
            raise ValueError(f"state '{max(names, key=names.count)}' is listed twice")
        if self.frontend and round(self.frontend.rate_hz / self.decoder.rate_hz) * self.decoder.rate_hz != self.frontend.rate_hz:
            raise ValueError(f"{self.frontend.rate_hz} samples/s are no multiple of {self.decoder.rate_hz} bins/s")
        return self
