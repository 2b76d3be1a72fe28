"""Step graphs of other people: what blocks them, and from the file to a bundle whose firmware is held against onnxruntime.

A graph of this project's own form (docs/reference/step-graphs.md), float or integer, is taken as it is; any other is lowered to it first.
"""

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from export.foreign.contract import Names
from export.limits import MOST_BYTES
from export.metadata import FORMAT
from export.pointwise import is_pointwise
from export.stepgraph import metadata, save_model
from export.trial import load_tried
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.compiler.graph import read_graph
from firmware_sim.compiler.names import check_prefix
from firmware_sim.emulator import EmulatorError, find_emulator
from firmware_sim.simulate import simulate_stream
from firmware_sim.targets import Target
from quantization.foreign import golden_of, quantise, read_rows, scored
from quantization.formats import Formats
from quantization.golden import Golden
from quantization.operators import OPERATORS, QUANTISERS
from quantization.summaries import CALIBRATION, Calibration
from realm_edge.apart import apart
from realm_edge.app.graph_forms import COMPILED_GRAPH, CheckedGraph, CompiledGraph, GraphCycles, GraphErrors
from realm_edge.app.rundir import MAKERS
from realm_edge.documents import formed, write_document
from realm_edge.errors import UserError
from realm_edge.files import read_bytes, sha256_file
from realm_edge.progress import Progress
from realm_edge.settings import Activations

STREAM = "graph"  # in the bundle's metadata


def check(path: Path, names: Names, rate_hz: float = 50.0, lowered: Path | None = None) -> CheckedGraph:
    """What is in a file, what blocks it and how to mend that; where nothing does, the step graph is written to ``lowered``.

    Raises:
        UserError: it is no ONNX graph that can be read, or it is not clear which of its tensors are input, output and states.
    """
    if _is_own(path):
        return _check_own(path)
    found = apart("export.foreign.lower:lowered", path, names, rate_hz, lowered, files=(path,))
    return formed(CheckedGraph, {"file": str(path), "kind": "other", "ok": not found["blockers"], **found}, path, "please report it")


def compile_graph(
    path: Path,
    names: Names,
    calibration: Path | None,
    targets: tuple[Target, ...],
    out: Path,
    prefix: str,
    rate_hz: float,
    activations: Activations,
    progress: Progress,
) -> CompiledGraph:
    """From a step graph to firmware: ``graph.onnx`` (float), ``graph.int8.onnx``, ``calibration.json``, ``golden.npz``,
    ``firmware/<target>/`` and ``compiled.json`` in ``out``.

    Args:
        calibration: .npz of recorded input, for graphs that compute in float.
        prefix: of every C name.
        rate_hz: steps a second, of graphs that do not say.

    Raises:
        UserError: something blocks the graph, rows are missing or do not fit, or it cannot be quantised or compiled.
    """
    check_prefix(prefix)
    if (out / "config.toml").exists():
        raise UserError(f"{out}: it is the directory of a run: give another with --out")
    out.mkdir(parents=True, exist_ok=True)
    exact, integers = out / "graph.onnx", out / "graph.int8.onnx"
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
        made = Path(folder, "lowered.onnx")
        found = check(path, names, rate_hz, made)
        if not found.ok:
            first = found.blockers[0]
            more = f", and {len(found.blockers) - 1} more" if len(found.blockers) > 1 else ""
            raise UserError(
                f"{path}: node '{first.node}' ({first.op}): {first.why}: {first.remedy}{more}; 'realm-edge check-onnx' lists all"
            )
        source = made if found.kind == "other" else path
        model = load_tried(source, "decoder")
    rows = None if calibration is None else read_rows(calibration, found.input.name, int(np.prod(found.input.shape)))
    errors = None
    if found.kind == "integer":
        save_model(model, integers)
        golden = golden_of(model, rows)
    else:
        if rows is None:
            raise UserError(f"{path}: it computes in float: give recorded input with --calibration FILE.npz, a row for each step")
        save_model(model, exact)
        twin, about = quantise(model, rows, Formats(activations), {"onnx": sha256_file(path)}, progress)
        save_model(twin, integers)
        write_document(out / "calibration.json", CALIBRATION, Calibration(streams={STREAM: about}), MAKERS["quantize"])
        golden = golden_of(twin, rows)
        errors = GraphErrors(**vars(scored(model, twin, golden, rows)))
    golden.save(out / "golden.npz")
    bundles = {target.name: _firmware(integers, golden, target, out, prefix, progress) for target in targets}
    summary = CompiledGraph(
        file=str(path),
        kind=found.kind,
        activations=activations if found.kind != "integer" else None,
        prefix=prefix,
        steps=len(golden.decoded),
        recorded=rows is not None,
        lowering_error=found.error,
        int8_against_float=errors,
        notes=found.notes,
        targets=bundles,
    )
    write_document(out / "compiled.json", COMPILED_GRAPH, summary, MAKERS["compile"])
    return summary


def _firmware(integers: Path, golden: Golden, target: Target, out: Path, prefix: str, progress: Progress) -> GraphCycles:
    """The bundle of one target, and what its firmware does in the simulator."""
    progress.say(f"  compile for {target.name}")
    bundle = out / "firmware" / target.name
    made = write_bundle(bundle, STREAM, target.build, None, integers, prefix).decoder
    alone = GraphCycles(
        part=target.part,
        bundle=str(bundle),
        weight_bytes=made.weight_bytes,
        state_bytes=made.state_bytes,
        scratch_bytes=made.scratch_bytes,
        macs=sum(kernel.macs for kernel in made.kernels),
    )
    try:
        find_emulator(target)
    except EmulatorError as error:
        return alone.model_copy(update={"not_run": str(error)})
    expected = Expected(golden.decoded, golden.decoder_states)
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
        result = simulate_stream(bundle, target, golden.features, expected, Path(folder), starts=golden.starts)
    cycles = result.regions["decoder"].cycles
    differs = None
    if result.mismatch is not None:
        found = result.mismatch
        differs = f"'{found.tensor}', step {found.step}, element {list(found.index)}: {found.got} for {found.expected}"
    ran = {
        "bit_exact": result.bit_exact,
        "differs": differs,
        "cycles": cycles.cycles,
        "cycles_range": (cycles.low, cycles.high),
        "cycles_basis": result.core.label,
        "flash_bytes": result.memory.flash,
        "ram_bytes": result.memory.ram,
        "stack_bytes": result.stack_used,
    }
    return alone.model_copy(update=ran)


def _is_own(path: Path) -> bool:
    """Whether a file says that it is of this project's form; what reads it sees whether that is so."""
    try:
        model = onnx.load_model_from_string(read_bytes(path, MOST_BYTES))
        form = next((entry.value for entry in model.metadata_props if entry.key == "format"), None)
        return form is not None and json.loads(form) == FORMAT
    except (OSError, ValueError, RecursionError, DecodeError):  # of a damaged file the reader of other people's graphs tells
        return False


def _check_own(path: Path) -> CheckedGraph:
    model = load_tried(path, "decoder")
    about = metadata(model)
    integer = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT16
    known = {*(OPERATORS if integer else QUANTISERS), "Split", "Identity"}
    blockers = [
        {"node": node.name, "op": node.op_type, "why": "no operator of the implant computes it", "remedy": "docs/integer.md lists them"}
        for node in model.graph.node
        if node.op_type not in known and not (is_pointwise(node) and not integer)
    ]
    if integer:
        read_graph(path)
    counts = Counter(node.op_type for node in model.graph.node)
    content = {
        "file": str(path),
        "kind": "integer" if integer else "float",
        "ok": not blockers,
        "input": {"name": "features", "shape": [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]},
        "output": {"name": "decoded", "elements": model.graph.output[0].type.tensor_type.shape.dim[0].dim_value},
        "states": [{"into": state["in"], "out": state["out"], "shape": state["shape"]} for state in about["states"]],
        "operators": dict(sorted(counts.items())),
        "becomes": dict(sorted(counts.items())),
        "blockers": blockers,
        "notes": [],
        "error": None,
    }
    return formed(CheckedGraph, content, path, "please report it")
