"""Firmware output against the reference, every bit of every output and state at every bin edge."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_sim.bundle import Bundle
from firmware_sim.bundle_metadata import StateTensor
from firmware_sim.elf import Symbol
from realm_edge.errors import UserError

_REMEDY = "rerun 'realm-edge compile'"


@dataclass(frozen=True)
class Expected:
    """What the reference (onnxruntime on the int8 graphs) gives at the bin edges."""

    outputs: NDArray[np.int16]  # (bins, values)
    states: dict[str, NDArray]  # state name -> (bins, ...), of front end and decoder, after the step that ends the bin
    features: NDArray[np.int16] | None = None  # (bins, features); None without a front end


@dataclass(frozen=True)
class Mismatch:
    """The first value that differs; ``index`` is in the tensor of one step. Tensor 'bins': the firmware decoded another number of bins."""

    tensor: str
    step: int
    index: tuple[int, ...]
    expected: int
    got: int


def split_dump(dump: NDArray[np.uint8], bundle: Bundle, symbols: dict[str, Symbol]) -> dict[str, NDArray]:
    """Cut a dump into tensors (bins, ...): 'output', 'features' with a front end, and every state by its name.

    The order within a record is that of ``firmware/main.c``; sizes come from the ELF's symbols.

    Raises:
        UserError: the dump is no whole number of records, or a stage's state block differs in size from its metadata.
    """
    stages = {"realm_decoder_state": bundle.decoder}
    parts = ["realm_output"]
    if bundle.frontend:
        stages["realm_frontend_state"] = bundle.frontend
        parts += ["realm_features", "realm_frontend_state"]
    parts.append("realm_decoder_state")
    for name, stage in stages.items():
        if symbols[name].size != stage.state_bytes:
            header = symbols[name].size
            raise UserError(
                f"{bundle.path}/metadata.json: {stage.prefix} has {stage.state_bytes} state bytes, its header {header}; {_REMEDY}"
            )
    record = sum(symbols[name].size for name in parts)
    if dump.size % record:
        raise UserError(f"{bundle.path}: the firmware's dump of {dump.size} bytes is no whole number of {record}-byte records; {_REMEDY}")
    records = dump.reshape(-1, record)
    found: dict[str, NDArray] = {}
    at = 0
    for name in parts:
        block = records[:, at : at + symbols[name].size]  # (bins, bytes)
        at += symbols[name].size
        if name in stages:
            found |= {state.name: _tensor(block, state) for state in stages[name].states}
        else:
            found[name.removeprefix("realm_")] = np.ascontiguousarray(block).view("<i2")
    return found


def first_mismatch(got: dict[str, NDArray], expected: Expected) -> Mismatch | None:
    """The earliest difference over all tensors, None when every bit is equal.

    Raises:
        UserError: reference and firmware do not have the same tensors, shapes or integer types.
    """
    wanted: dict[str, NDArray] = {"output": expected.outputs, **expected.states}
    if expected.features is not None:
        wanted["features"] = expected.features
    if set(wanted) != set(got):
        odd = sorted(set(wanted) ^ set(got))[0]
        side = "the bundle" if odd in wanted else "the reference"
        raise UserError(f"tensor '{odd}' is missing in {side}: graphs and bundle are not of one make; {_REMEDY}")
    bins = expected.outputs.shape[0]
    worst: Mismatch | None = None
    for name, reference in wanted.items():
        tensor = got[name]
        if tensor.shape[1:] != reference.shape[1:] or reference.shape[0] != bins or tensor.dtype != reference.dtype:
            ours, theirs = f"{tensor.dtype}{tensor.shape[1:]}", f"{reference.dtype}{reference.shape[1:]}"
            raise UserError(f"tensor '{name}' is {ours} in the bundle and {theirs} in the reference; {_REMEDY}")
        if tensor.shape[0] != bins:
            return Mismatch("bins", 0, (), bins, tensor.shape[0])
        differs = np.argwhere(tensor != reference)
        if differs.size and (worst is None or differs[0, 0] < worst.step):
            at = tuple(int(i) for i in differs[0])
            worst = Mismatch(name, at[0], at[1:], int(reference[at]), int(tensor[at]))
    return worst


def _tensor(block: NDArray[np.uint8], state: StateTensor) -> NDArray:
    content = np.ascontiguousarray(block[:, state.offset : state.offset + state.nbytes])
    return content.view(np.dtype(state.dtype).newbyteorder("<")).astype(state.dtype, copy=False).reshape(-1, *state.shape)
