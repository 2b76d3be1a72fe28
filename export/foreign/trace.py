"""Follows a graph node by node: constants are folded, elements that move keep their numbers, what computes makes new ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.foreign import elementwise, linear, norms, recurrent
from export.foreign.contract import Contract
from export.foreign.reading import opset_of
from export.foreign.tape import Blocked, Ids, Tape, Traced, Vector
from export.limits import MOST_ELEMENTS

# Operators whose results are elements of their first input, or of all.
_MOVING = """
    Concat DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND Identity Pad Reshape Shape Size Slice
    SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
"""
MOVING = frozenset(_MOVING.split())
# What may be computed once and for all of constants.
_OF_CONSTANTS = """
    And ArgMax ArgMin Cast CastLike Clip Constant ConstantOfShape CumSum DequantizeLinear Equal EyeLike Gemm Greater
    GreaterOrEqual IsNaN Less LessOrEqual MatMul Mean Mod Not Or Range ReduceL2 ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ScatterElements ScatterND Softmax Sum Trilu Where Xor
"""
_FOLDED = MOVING | elementwise.UNARY | elementwise.BINARY | frozenset(_OF_CONSTANTS.split())
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
Values = tuple[Any, ...]  # Traced, an array, or None for an input that is not there


@dataclass(frozen=True)
class Blocker:
    """A node that the implant cannot have."""

    node: str
    op: str
    why: str
    remedy: str


@dataclass
class Trace:
    """A graph that was followed; complete where nothing blocks."""

    tape: Tape
    input: Vector
    states: dict[str, Vector]  # by their name going in
    output: Ids | None
    following: dict[str, Ids] = field(default_factory=dict)  # by the name going in, flat: what a state is next
    blockers: list[Blocker] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)  # how often each operator came up
    notes: list[str] = field(default_factory=list)


def trace(model: onnx.ModelProto, contract: Contract) -> Trace:
    """Follow a graph that :func:`export.foreign.reading.read_foreign` read."""
    tape, values = Tape(), {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes = {tensor.name: tuple(d.dim_value for d in tensor.type.tensor_type.shape.dim) for tensor in model.graph.input}
    known: dict[str, Any] = {name: _number(array) for name, array in values.items()}
    vectors = {}
    for name in (contract.input, *(into for into, _ in contract.states)):
        vectors[name] = tape.add("input" if name == contract.input else "state", int(np.prod(shapes[name])), name)
        known[name] = Traced(vectors[name].ids.reshape(shapes[name]))
    found = Trace(tape, vectors[contract.input], {into: vectors[into] for into, _ in contract.states}, None)
    for name, shape in shapes.items():
        if name not in known:
            found.notes.append(f"input '{name}' {list(shape)} is neither data nor state")
    for node in model.graph.node:
        _follow(found, node, known, opset_of(model))
    found.output = _result(found, known, contract.output, "output")
    for into, out in contract.states:
        ids = _result(found, known, out, f"next value of state '{into}'")
        if ids is not None and ids.size != found.states[into].size:
            found.blockers.append(
                Blocker(out, "", f"it has {ids.size} elements, state '{into}' {found.states[into].size}", "export it again")
            )
        elif ids is not None:
            found.following[into] = ids
    return found


def _result(found: Trace, known: dict[str, Any], name: str, what: str) -> Ids | None:
    value = known.get(name)
    if isinstance(value, Traced):
        return value.ids.ravel()
    if value is not None:
        found.blockers.append(Blocker(name, "", f"the {what} does not depend on anything that changes", "export it again"))
    elif not found.blockers:
        found.blockers.append(Blocker(name, "", f"the {what} is written by nothing that was followed", "export it again"))
    return None


def _number(array: NDArray) -> NDArray:
    """As numpy computes with it: what it has no type of its own for becomes float32."""
    return array if array.dtype.kind in "biuf" and array.dtype.itemsize in (1, 2, 4, 8) else array.astype(np.float32)


def _follow(found: Trace, node: onnx.NodeProto, known: dict[str, Any], opset: int) -> None:
    name = node.name or (node.output[0] if node.output else node.op_type)
    found.taken[node.op_type] = found.taken.get(node.op_type, 0) + 1
    if any(each and each not in known for each in node.input):
        return  # of what is blocked, or of an input that is none
    inputs: Values = tuple(known[each] if each else None for each in node.input)
    try:
        results = _results(found, node, name, inputs, opset)
    except Blocked as blocked:
        found.blockers.append(Blocker(name, node.op_type, blocked.why, blocked.remedy))
        return
    for output, value in zip(node.output, results, strict=False):
        size = value.ids.size if isinstance(value, Traced) else np.size(value)
        if size > MOST_ELEMENTS:
            found.blockers.append(Blocker(name, node.op_type, f"it makes {size:,} elements", "export a step of one moment"))
            return
        if output:
            known[output] = value


def _results(found: Trace, node: onnx.NodeProto, name: str, inputs: Values, opset: int) -> Values:
    if node.domain not in ("", "ai.onnx"):
        raise Blocked(f"its operator is of the domain '{node.domain}'", "export it as standard operators")
    changing = any(isinstance(value, Traced) for value in inputs)
    if not changing and node.op_type in _FOLDED:
        return tuple(_number(np.asarray(each)) for each in _evaluated(node, inputs, opset))
    attributes = {each.name: _plain(helper.get_attribute_value(each)) for each in node.attribute}
    if changing and node.op_type in MOVING:
        return _moved(found.tape, node, inputs, opset)
    handler = _HANDLERS.get(node.op_type)
    if handler is None:
        raise Blocked("no operator of the implant computes it", "write it with operators that docs/graphs.md lists")
    try:
        made = handler(found, name, inputs, attributes)
    except (ValueError, IndexError, KeyError, TypeError) as error:  # shapes and attributes that do not go together
        raise Blocked(f"its operands do not go together ({' '.join(str(error).split()):.80})", "export it again") from error
    return tuple(Traced(ids) for ids in made) if isinstance(made, tuple) else (Traced(made),)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _evaluated(node: onnx.NodeProto, inputs: Values, opset: int) -> Sequence[Any]:
    names = [each for each in node.input if each]
    info = [onnx.ValueInfoProto(name=each) for each in dict.fromkeys(names)]
    out = [onnx.ValueInfoProto(name=each) for each in node.output if each]
    graph = helper.make_graph([node], "one", info, out)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    given = {each: value for each, value in zip(node.input, inputs, strict=True) if each}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, given)
    except MemoryError:
        raise
    except Exception as error:  # whatever a wrong shape makes of it
        raise Blocked(f"it cannot be evaluated ({' '.join(str(error).split()):.80})", "export it again") from error
    found = iter(results)
    return [next(found) if each else None for each in node.output]


def _moved(tape: Tape, node: onnx.NodeProto, inputs: Values, opset: int) -> Values:
    """The operator, of the numbers of the elements."""
    moved = len(inputs) if node.op_type == "Concat" else 1
    given = []
    for place, value in enumerate(inputs):
        if isinstance(value, Traced):
            if place >= moved:
                raise Blocked("where it takes elements from changes from step to step", "take them from fixed places")
            given.append(value.ids)
        elif place < moved or (node.op_type == "Pad" and place == 2 and value is not None):
            given.append(tape.constant_ids(value))
        else:
            given.append(value)
    if node.op_type == "Pad" and (len(given) < 3 or given[2] is None):
        node = onnx.NodeProto.FromString(node.SerializeToString())
        while len(node.input) < 3:
            node.input.append("")
        node.input[2] = "the constant that pads"
        given = [*given[:2], tape.constant_ids(0.0), *given[3:]]
    results = _evaluated(node, tuple(given), opset)
    if node.op_type in ("Shape", "Size"):
        return tuple(results)
    return tuple(None if each is None else Traced(np.asarray(each, np.int64)) for each in results)


def _unary(op: str) -> Callable[..., Ids]:
    def made(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
        return elementwise.unary(found.tape, name, op, _data(inputs), **attributes)

    return made


def _binary(op: str) -> Callable[..., Ids]:
    def made(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
        operands = list(elementwise.operands(found.tape, inputs))
        result = operands[0]
        for each in operands[1:]:
            result = elementwise.binary(found.tape, name, op, result, each)
        return np.asarray(result)

    return made


def _clip(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    x: Any = _data(inputs)
    for op, bound in zip(("Max", "Min"), inputs[1:], strict=False):
        if bound is not None:
            x = elementwise.binary(found.tape, name, op, x, _constant(bound))
    return np.asarray(x)


def _data(inputs: Values) -> Ids:
    """What an operator works on, its first operand, which changes."""
    if not inputs or not isinstance(inputs[0], Traced):
        raise Blocked("what it works on is constant, and its parameters change", "export it with constant parameters")
    return inputs[0].ids


def _constant(value: Any) -> NDArray[np.float64]:
    if isinstance(value, Traced):
        raise Blocked("an operand of it changes from step to step that has to be constant", "export it with constant weights")
    return np.asarray(value, np.float64)


def _optional(inputs: Values, place: int) -> NDArray[np.float64] | None:
    return _constant(inputs[place]) if len(inputs) > place and inputs[place] is not None else None


def _any(inputs: Values, place: int) -> Any:
    """An operand that may change, or be constant, or not be there."""
    value = inputs[place] if len(inputs) > place else None
    return value.ids if isinstance(value, Traced) else None if value is None else np.asarray(value, np.float64)


def _matmul(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    return linear.matmul(found.tape, name, *elementwise.operands(found.tape, inputs))


def _gemm(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    a, b = elementwise.operands(found.tape, inputs[:2])
    a, b = a.T if attributes.get("transA", 0) else a, b.T if attributes.get("transB", 0) else b
    gain = attributes.get("alpha", 1.0)
    if a.dtype != np.int64:
        a = a * gain
    elif b.dtype != np.int64:
        b = b * gain
    y = linear.matmul(found.tape, name, a, b)
    plus = _any(inputs, 2)
    if plus is None:
        return y
    beta = attributes.get("beta", 1.0)
    plus = plus * beta if plus.dtype != np.int64 else elementwise.binary(found.tape, name, "Mul", plus, beta)
    return elementwise.binary(found.tape, name, "Add", y, plus)


def _conv(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    weight, bias = _constant(inputs[1]), _optional(inputs, 2)
    rank = weight.ndim - 2
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Blocked(f"it pads by '{attributes['auto_pad']}'", "export it with pads in numbers")
    settings = {
        "strides": attributes.get("strides", [1] * rank),
        "dilations": attributes.get("dilations", [1] * rank),
        "pads": attributes.get("pads", [0] * 2 * rank),
    }
    x, groups, plus = _data(inputs), attributes.get("group", 1), np.zeros(len(weight)) if bias is None else bias
    window = x[0].T if x.ndim == 3 else None  # (taps, channels)
    alone = groups == len(weight) == x.shape[1] and not any(settings["pads"]) and set(settings["dilations"]) == {1}
    if window is not None and alone and weight.shape[2] == len(window) > 1 and _held(found, window[:-1]):
        return recurrent.depthwise(found.tape, name, window, weight[:, 0].T, plus).reshape(1, -1, 1)
    return linear.conv(found.tape, name, x, weight, plus, settings, groups)


def _held(found: Trace, window: Ids) -> bool:
    """Whether a window is all of a state."""
    ids = window.ravel()
    if (ids < 0).any():
        return False
    owner = found.tape.owner(int(ids[0]))
    return owner.kind == "state" and np.array_equal(np.sort(ids), owner.ids)


def _layer_norm(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    return _norm(inputs, attributes, lambda x, weight, eps: norms.layer_norm(found.tape, name, x, weight, _bias(inputs), eps))


def _bias(inputs: Values) -> NDArray[np.float64]:
    bias = _optional(inputs, 2)
    return np.zeros(()) if bias is None else bias.ravel()


def _rms_norm(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    return _norm(inputs, attributes, lambda x, weight, eps: norms.rms_norm(found.tape, name, x, weight, eps))


def _norm(inputs: Values, attributes: dict[str, Any], made: Callable[[Ids, Any, float], Ids]) -> Ids:
    x = _data(inputs)
    axis = attributes.get("axis", -1) % x.ndim
    rows = x.reshape(*x.shape[:axis], -1)
    return made(rows, _constant(inputs[1]).ravel(), float(attributes.get("epsilon", 1e-5))).reshape(x.shape)


def _reduce(gain: float | None) -> Callable[..., Ids]:
    def made(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
        given = _optional(inputs, 1)
        axes = attributes.get("axes", ()) if given is None else given.astype(int).ravel().tolist()
        if not axes and attributes.get("noop_with_empty_axes", 0):
            return np.asarray(_data(inputs))
        return linear.reduced(found.tape, name, _data(inputs), tuple(axes), bool(attributes.get("keepdims", 1)), gain)

    return made


def _average(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    x = _data(inputs)
    return linear.reduced(found.tape, name, x, tuple(range(2, x.ndim)), True, None)


def _where(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    chosen = _constant(inputs[0]) != 0
    both = [each.ids if isinstance(each, Traced) else found.tape.constant_ids(each) for each in inputs[1:]]
    return np.where(chosen, *both)


def _cast(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    if attributes.get("to") not in _FLOATS:
        raise Blocked("it makes integers of what changes from step to step", "keep to numbers with fractions")
    return np.asarray(_data(inputs))


def _as_it_is(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> Ids:
    """Quantised graphs round here; their scales are found anew."""
    note = "QuantizeLinear and DequantizeLinear of what changes are left out: scales are found anew by calibration"
    if note not in found.notes:
        found.notes.append(note)
    return np.asarray(_data(inputs))


def _gru(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> tuple[Ids, ...]:
    weights = [_optional(inputs, place) for place in (1, 2, 3)]
    return recurrent.gru(found.tape, name, _data(inputs), weights, _any(inputs, 5), attributes)


def _rnn(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> tuple[Ids, ...]:
    weights = [_optional(inputs, place) for place in (1, 2, 3)]
    return recurrent.rnn(found.tape, name, _data(inputs), weights, _any(inputs, 5), attributes)


def _lstm(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> tuple[Ids, ...]:
    weights = [_optional(inputs, place) for place in (1, 2, 3, 7)]
    return recurrent.lstm(found.tape, name, _data(inputs), weights, (_any(inputs, 5), _any(inputs, 6)), attributes)


def _linear_attention(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> tuple[Ids, ...]:
    q, k, v = (_any(inputs, place) for place in range(3))
    if any(each is None or each.dtype != np.int64 for each in (q, k, v)):
        raise Blocked("queries, keys or values are constant", "export it with all three from the input")
    return recurrent.linear_attention(found.tape, name, q, k, v, _any(inputs, 3), _any(inputs, 4), attributes)


def _causal_conv(found: Trace, name: str, inputs: Values, attributes: dict[str, Any]) -> tuple[Ids, ...]:
    weight, bias = _constant(inputs[1]), _optional(inputs, 2)
    activation = attributes.get("activation", "none")
    return recurrent.causal_conv(found.tape, name, _data(inputs), weight, bias, _any(inputs, 3), activation)


_HANDLERS: dict[str, Callable[..., Any]] = {
    **{op: _unary(op) for op in elementwise.UNARY},
    **{op: _binary(op) for op in elementwise.BINARY},
    "Cast": _cast,
    "CausalConvWithState": _causal_conv,
    "Clip": _clip,
    "Conv": _conv,
    "DequantizeLinear": _as_it_is,
    "GRU": _gru,
    "Gemm": _gemm,
    "GlobalAveragePool": _average,
    "LSTM": _lstm,
    "LayerNormalization": _layer_norm,
    "LinearAttention": _linear_attention,
    "MatMul": _matmul,
    "QuantizeLinear": _as_it_is,
    "RMSNormalization": _rms_norm,
    "RNN": _rnn,
    "ReduceMean": _reduce(None),
    "ReduceSum": _reduce(1.0),
    "Sum": _binary("Add"),
    "Where": _where,
}
SUPPORTED = tuple(sorted({*_HANDLERS, *MOVING}))
