"""Edits of ONNX step graphs that stay ONNX: other sizes, types, numbers, names, calls and metadata, drawn with a seed."""

import json
import random
from collections.abc import Callable
from itertools import pairwise

import onnx
from onnx import AttributeProto, TensorProto, helper

from tests.fuzz.mutations import mutated

_INTEGERS = (0, 1, -1, 2, 7, 2**16, 2**31 - 1, -(2**31), 2**31, 2**40, 2**63 - 1, -(2**63))
_VALUES = (0, -1, 1e308, 2**64, "", "x" * 3000, [], {}, None, True, float("nan"), [[[[]]]], "\0", "*/\n#include </dev/zero>", [1.0] * 5)
_NAMES = ("", "state.x", "next.x", "features", "decoded", "a\nb", "*/ #error", "[/bold]", "x" * 5000)
_PLACES = ("/dev/zero", "../../secret", "x", "")
Edit = Callable[[onnx.ModelProto, random.Random], None]


def mutated_graph(content: bytes, draw: random.Random, other: bytes = b"") -> bytes:
    """One to three edits; one of ten times, damaged bytes."""
    if draw.random() < 0.1:
        return mutated(content, draw, other)
    model = onnx.ModelProto.FromString(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        draw.choice(_EDITS)(model, draw)
    return bytes(model.SerializeToString())


def _metadata(model: onnx.ModelProto, draw: random.Random) -> None:
    if not model.metadata_props:
        return
    entry = draw.choice(model.metadata_props)
    match draw.randrange(4):
        case 0:
            entry.value = draw.choice(("[" * 50_000, "1" * 5000, "\0", json.dumps(draw.choice(_VALUES))))
        case 1:
            model.metadata_props.remove(entry)
        case 2:
            model.metadata_props.add(key=entry.key, value=json.dumps(draw.choice(_VALUES)))
        case _:
            try:
                entry.value = json.dumps(_changed(json.loads(entry.value), draw))
            except (ValueError, RecursionError):  # an edit before this one
                return


def _changed(value: object, draw: random.Random) -> object:
    """One of the values in it is another."""
    if isinstance(value, dict | list) and value and draw.random() < 0.8:
        at = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value[at] = _changed(value[at], draw)
        return value
    return draw.choice(_VALUES)


def _constant(model: onnx.ModelProto, draw: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor = draw.choice(model.graph.initializer)
    match draw.randrange(7):
        case 0:
            tensor.dims.append(draw.choice(_INTEGERS))
        case 1 if tensor.dims:
            tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(_INTEGERS)
        case 2:
            tensor.data_type = draw.choice((*range(24), 99, -5))
        case 3:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=draw.choice(_PLACES))
        case 4:
            tensor.raw_data = draw.randbytes(len(tensor.raw_data)) if draw.random() < 0.5 else tensor.raw_data[:-1]
        case 5:
            tensor.name = draw.choice((*_NAMES, *(each.name for each in model.graph.initializer)))
        case _:
            model.graph.initializer.remove(tensor)


def _declared(model: onnx.ModelProto, draw: random.Random) -> None:
    side = draw.choice((model.graph.input, model.graph.output))
    if not side:
        return
    tensor = draw.choice(side)
    match draw.randrange(6):
        case 0:
            tensor.type.tensor_type.shape.dim.add().dim_value = draw.choice(_INTEGERS)
        case 1 if tensor.type.tensor_type.shape.dim:
            draw.choice(tensor.type.tensor_type.shape.dim).dim_value = draw.choice(_INTEGERS)
        case 2:
            tensor.type.tensor_type.elem_type = draw.choice((*range(24), 99))
        case 3:
            tensor.ClearField("type")
        case 4:
            tensor.name = draw.choice((*_NAMES, tensor.name + "2"))
        case _:
            side.remove(tensor)


def _versions(model: onnx.ModelProto, draw: random.Random) -> None:
    match draw.randrange(3):
        case 0:
            model.ir_version = draw.choice(_INTEGERS)
        case 1 if model.opset_import:
            draw.choice(model.opset_import).version = draw.choice(_INTEGERS)
        case _:
            del model.opset_import[:1]


def _node(model: onnx.ModelProto, draw: random.Random) -> None:
    bodies = [body for body in (model.graph.node, *(function.node for function in model.functions)) if body]
    body = model.graph.node if draw.random() < 0.6 and model.graph.node else draw.choice(bodies)
    node, names = draw.choice(body), [name for each in model.graph.node for name in (*each.input, *each.output)]
    match draw.randrange(9):
        case 0 if node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice((*names, *_NAMES))
        case 1 if node.output:
            node.output[draw.randrange(len(node.output))] = draw.choice((*names, *_NAMES))  # a cycle, too
        case 2:
            node.op_type = draw.choice(("Identity", "Split", "If", "Nope", "", draw.choice(body).op_type))
        case 3 if node.attribute:
            draw.choice(node.attribute).i = draw.choice(_INTEGERS)
        case 4:
            node.attribute.add(name=draw.choice(("axis", "shift", "x")), type=draw.choice(range(11)), i=draw.choice(_INTEGERS))
        case 5:
            inner = onnx.GraphProto.FromString(model.graph.SerializeToString())
            node.attribute.add(name="then_branch", type=AttributeProto.GRAPH, g=inner)
        case 6:
            del node.input[:1]
        case 7:
            node.name = draw.choice(_NAMES)
        case _:
            body.remove(node)


def _calls(model: onnx.ModelProto, draw: random.Random) -> None:
    """Functions that call themselves, or each the next and that often twice; and very many nodes."""
    first = model.graph.input[0].name if model.graph.input else ""
    depth, times, domain = draw.choice((30, 500)), draw.choice((1, 2)), "realm.edge"
    names = [f"Deep{index}" for index in range(depth)] + [draw.choice(("Deep0", "Identity"))]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(domain, 1)]
    for name, called in pairwise(names):
        inside = "" if called == "Identity" else domain
        chain = ["x", *(f"t{index}" for index in range(times - 1)), "y"]
        body = [helper.make_node(called, [into], [out], domain=inside) for into, out in pairwise(chain)]
        model.functions.append(helper.make_function(domain, name, ["x"], ["y"], body, opsets))
    model.graph.node.append(helper.make_node(names[0], [first], ["deep"], "deep", domain=domain))
    if draw.random() < 0.3:
        model.graph.node.extend(helper.make_node("Identity", [first], [f"copy{index}"], f"copy{index}") for index in range(5000))


_EDITS: tuple[Edit, ...] = (_metadata, _metadata, _constant, _constant, _declared, _versions, _node, _node, _node, _calls)
