"""The metadata of a step graph, typed: what a stranger needs to run it and what this project checks before it does."""

import json
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

import onnx
from onnx import helper
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.limits import MOST_ELEMENTS
from realm_edge.errors import UserError

FORMAT = "realm-edge step graph/1"
PACKAGES = ("numpy", "onnx")  # whose versions are named in a graph

Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Number | list[Number]  # one for all elements, or one each
Size = Annotated[int, Field(ge=1, le=MOST_ELEMENTS)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="allow")  # others may add what they need


class StateForm(_Form):
    """One state, zero at the start: it comes in under one name and goes out under another."""

    into: Annotated[str, Field(alias="in")]
    out: str
    dtype: Literal["int8", "int16", "int32", "int64", "float32", "float64"]
    shape: Annotated[list[Size], Field(min_length=1, max_length=4)]
    scale: Numbers | None = None  # value = stored * scale


class TensorForm(_Form):
    """One data tensor: value = stored * scale + offset, in ``unit``."""

    unit: str = ""
    scale: Numbers = 1.0
    offset: Numbers = 0.0
    names: list[str] | None = None  # one per element


class GraphMetadata(_Form):
    """The metadata properties of a step graph, each a JSON value."""

    format: Literal["realm-edge step graph/1"]
    made_by: dict[str, str] = {}  # version by package
    made_from: dict[str, str] = {}  # hashes
    kind: str = ""  # "frontend" or "decoder"
    rate_hz: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # ticks per second
    states: list[StateForm]
    io: dict[str, TensorForm]
    scales: dict[str, Number] = {}  # of an integer decoder: its tensors'
    warm_up_bins: Annotated[int, Field(ge=0)] | None = None  # after a reset


def checked(model: onnx.ModelProto, path: Path) -> None:
    """Hold the metadata against the model they are in.

    Raises:
        UserError: a property is missing or is not what it should be, another version wrote it, a state is not what the graph declares, or
            nothing is said of a data tensor.
    """
    try:
        properties: dict[str, Any] = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata are not JSON ({error}): export it again") from error
    missing = {"states", "io"} - set(properties)
    if missing:
        raise UserError(f"{path}: not a step graph of realm-edge (metadata {', '.join(sorted(missing))} missing): export it again")
    if properties.get("format") != FORMAT:
        found = properties.get("format", "an earlier version")
        raise UserError(f"{path}: its metadata are of {found}, not of '{FORMAT}': export it again")
    try:
        found = GraphMetadata.model_validate(properties)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: metadata '{where}' is {first['input']!s:.60}: {first['msg']}: export it again") from error
    declared = {tensor.name: _form(tensor) for tensor in (*model.graph.input, *model.graph.output)}
    for state in found.states:
        wanted = (state.dtype, state.shape)
        for name in (state.into, state.out):
            if declared.get(name) != wanted:
                there = "not declared" if name not in declared else "{} {}".format(*declared[name])
                raise UserError(
                    f"{path}: state '{name}' is {state.dtype} {state.shape} in its metadata, and {there} in the graph: export it again"
                )
    kept = {name for state in found.states for name in (state.into, state.out)}
    for name, (_, sizes) in declared.items():
        if name not in kept:
            _check_form(found.io.get(name), name, prod(sizes), path)


def _check_form(form: TensorForm | None, name: str, elements: int, path: Path) -> None:
    if form is None:
        raise UserError(f"{path}: metadata 'io' say nothing of tensor '{name}': export it again")
    for what, values in (("scale", form.scale), ("offset", form.offset), ("names", form.names)):
        if isinstance(values, list) and len(values) != elements:
            raise UserError(f"{path}: metadata 'io.{name}.{what}' has {len(values)} entries for {elements} elements: export it again")


def _form(tensor: onnx.ValueInfoProto) -> tuple[str, list[int]]:
    kind = tensor.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except (KeyError, TypeError):
        dtype = f"ONNX type {kind.elem_type}"
    return dtype, [dimension.dim_value for dimension in kind.shape.dim]
