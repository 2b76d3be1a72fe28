"""The int8 files are written at an opset that old onnxruntimes read, and give the same bits at the newest that this one runs."""

import hashlib

import onnx
import onnx.checker
import onnx.shape_inference
import onnxruntime
import pytest

from export.stepgraph import DOMAIN, OPSET, Stepper


def at_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """A copy that imports ``version`` of the standard operators, in the graph and in every function."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for imports in (copy.opset_import, *(function.opset_import for function in copy.functions)):
        for entry in imports:
            if entry.domain != DOMAIN:
                entry.version = version
    return copy


def runs(version: int) -> bool:
    """Whether onnxruntime takes a model of this opset."""
    text = f'<ir_version: 10, opset_import: ["" : {version}]> g (float[1] x) => (float[1] y) {{ y = Identity(x) }}'
    try:
        onnxruntime.InferenceSession(onnx.parser.parse_model(text).SerializeToString(), providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
        return False
    return True


def inferred_types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Types and shapes of the outputs by inference alone: what the file says of them is taken away."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    return {output.name: output.type for output in inferred.graph.output}


@pytest.fixture(scope="module")
def newest() -> int:
    known = range(OPSET, onnx.defs.onnx_opset_version() + 1)
    return max(version for version in known if runs(version))


def test_newest_opset_gives_the_same_bits(int8_graph, newest):
    model, rows = int8_graph
    newer = at_opset(model, newest)
    onnx.checker.check_model(newer, full_check=True)
    assert inferred_types(newer) == {o.name: o.type for o in model.graph.output}
    digests = []
    for each in (model, newer):
        stepper, digest = Stepper(each), hashlib.sha256()
        [name] = {i.name for i in each.graph.input} - set(stepper.state)
        for row in rows:
            digest.update(b"".join(value.tobytes() for value in (*stepper.step({name: row}).values(), *stepper.state.values())))
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]
