"""``metadata.json`` of a bundle, typed: the compiler writes it, the simulator and others read it."""

from math import prod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from realm_edge.documents import Form

FORMAT = "realm-edge bundle/3"

Count = Annotated[int, Field(ge=0, le=1 << 40, strict=True)]
Size = Annotated[int, Field(ge=1, le=1 << 24, strict=True)]
Value = Annotated[float, Field(allow_inf_nan=False)]
Prefix = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=120)]  # of C names and of files
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]  # steps per second


class Tensor(Form):
    """An input or output of a step."""

    name: str
    dtype: Literal["int8", "int16", "int32", "int64"]
    shape: tuple[Size, ...]


class DataTensor(Tensor):
    """An input or output of a step: value = stored * scale + offset in ``unit``, element by element."""

    unit: str
    scale: tuple[Value, ...]
    offset: tuple[Value, ...]
    names: tuple[str, ...] | None  # of the elements, where they have some

    @model_validator(mode="after")
    def _says_it_of_each_element(self) -> "DataTensor":
        for what, values in (("scale", self.scale), ("offset", self.offset), ("names", self.names)):
            if values is not None and len(values) != prod(self.shape):
                raise ValueError(f"{what} of '{self.name}' has {len(values)} entries for {prod(self.shape)} elements")
        return self


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
    per symbol; ``stack_bytes`` is what a call takes.
    """

    symbol: str
    node: str
    op: str
    macs: Count
    code_bytes: Count
    constant_bytes: Count
    stack_bytes: Count


class Stage(Form):
    """Front end (a step per sample) or decoder (a step per bin)."""

    prefix: Prefix  # functions are <prefix>_init and <prefix>_block or _step, the header is <prefix>.h
    rate_hz: Rate
    state_bytes: Count
    scratch_bytes: Count
    weight_bytes: Count
    inputs: tuple[DataTensor, ...] = ()
    outputs: tuple[DataTensor, ...] = ()
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


class Stack(Form):
    """How much of the stack a call takes, at most: frames of the kernels as they are, of the drivers as ``compiler`` makes them, and
    ``library_bytes`` for memcpy, memset and the compiler's helpers."""

    bytes: Count
    library_bytes: Count
    compiler: str


class Memory(Form):
    """What a program grants the whole model; ``scratch_bytes`` may be shared with whatever does not run at the same time."""

    alignment: Count  # bytes, of state and scratch
    state_bytes: Count
    scratch_bytes: Count
    stack: Stack


class Weights(Form):
    """Weights and tables in flash, front end first, and their checksum; ``function`` computes it at run time."""

    bytes: Count
    checksum: Literal["CRC-32/ISO-HDLC"]
    value: Annotated[str, Field(pattern="^0x[0-9a-f]{8}$")]
    function: str


class Api(Form):
    """How a program calls the whole model (``include/<header>``, ``lib/<library>``)."""

    header: str
    library: str
    init: str
    reset: str
    step: str
    step_block: str
    ticks_per_bin: Count


class Reset(Form):
    """The calls that start a new segment, and how long what comes after them is start-up."""

    calls: tuple[str, ...]
    warm_up_bins: Count | None  # None: the decoder's graph does not say
    warm_up_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class BundleMetadata(Form):
    """The whole file; ``frontend`` is None where spike counts or features come in by the board."""

    format: Literal["realm-edge bundle/3"]
    made_by: dict[str, str]  # version by package
    prefix: Prefix  # of every symbol, macro, guard and file
    stream: str
    target: str  # the build, an entry of firmware_sim/data/builds.toml
    api: Api
    memory: Memory
    weights: Weights
    frontend: Stage | None
    decoder: Stage
    reset: Reset
    made_from: dict[str, str]  # SHA-256 of the step graphs

    @model_validator(mode="after")
    def _fits_together(self) -> "BundleMetadata":
        for name, stage in (("frontend", self.frontend), ("decoder", self.decoder)):
            if stage and stage.prefix != f"{self.prefix}_{name}":
                raise ValueError(f"the {name} has the prefix '{stage.prefix}', not '{self.prefix}_{name}'")
        names = [state.name for stage in (self.frontend, self.decoder) if stage for state in stage.states]
        if len(set(names)) != len(names):
            raise ValueError(f"state '{max(names, key=names.count)}' is listed twice")
        if self.frontend and round(self.frontend.rate_hz / self.decoder.rate_hz) * self.decoder.rate_hz != self.frontend.rate_hz:
            raise ValueError(f"{self.frontend.rate_hz} samples/s are no multiple of {self.decoder.rate_hz} bins/s")
        return self
