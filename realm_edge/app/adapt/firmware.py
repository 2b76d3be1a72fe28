"""A new student as firmware: int8, golden vectors of the day, a bundle a target, run in QEMU, and held against the old student's."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from export.decoder_graph import decoder_graph
from export.stepgraph import metadata, save_model
from export.stream import decoder_error
from export.trial import load_tried
from firmware_sim.build import check_fit
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.compiler.names import DEFAULT_NAME, model_prefix
from firmware_sim.simulate import build, simulate_built
from firmware_sim.targets import get_target
from firmware_sim.update import change
from quantization.calibrate import observe, warm_up_bins
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.golden import Golden, float_decoded, in_units
from quantization.stream import check_reference, make_golden
from realm_edge.app import artefacts
from realm_edge.app.adapt.form import Update
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.export import TOLERANCE
from realm_edge.errors import UserError
from realm_edge.metrics import nrmse
from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.segments import learnt_from
from realm_edge.session import Session
from realm_edge.streams import LFP


def write(
    out: Path, run: RunDir, student: Student, day: Session, made_from: dict[str, str], targets: Sequence[str], progress: Progress
) -> tuple[float, dict[str, Update]]:
    """Write step graphs, golden vectors and bundles of a new student into ``out``, which has none of them.

    The front end is the run's own: it stays as it is on the implant, and what it makes of the day is what the decoder is sized for.

    Returns:
        How far int8 is from float on the golden bins (NRMSE), and by target what an update takes.

    Raises:
        UserError: a tensor cannot be quantised, the firmware does not fit a part or differs from onnxruntime, or QEMU is missing.
    """
    graph, integers = _decoders(run, student, day, made_from, progress)
    save_model(graph, out / "decoder.onnx")
    save_model(integers, out / "decoder.int8.onnx")
    path = artefacts.int8_frontend(run, LFP)
    frontend = load_tried(path, "frontend") if path.exists() else None
    golden = make_golden(run.settings, LFP, day, frontend, integers, progress)
    golden.save(out / "golden" / f"{LFP.name}.npz")
    check_reference(golden, frontend, integers)
    updates = {
        target: _update(out, run, golden, path if frontend is not None else None, target)
        for target in progress.track(targets, "firmware of the new student", len(targets))
    }
    read = (golden.features * np.asarray(metadata(integers)["io"]["features"]["scale"])).astype(np.float32)
    exact = in_units(float_decoded(graph, read, golden.starts), graph)[golden.warm_up :]
    return nrmse(in_units(golden.decoded, integers)[golden.warm_up :], exact), updates


def _decoders(
    run: RunDir, student: Student, day: Session, made_from: dict[str, str], progress: Progress
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Float and int8 step graphs, calibrated on the day's training part."""
    graph = decoder_graph(student, 1000.0 / run.settings.bin_ms, day.target_names, day.target_unit, made_from)
    inputs = LFP.inputs(day)
    if (error := decoder_error(graph, student, inputs, progress)) > TOLERANCE:
        raise UserError(f"{day.name}: the new student's step graph differs by {error:.2g} of the largest value: please report it")
    kept, starts = learnt_from(day.starts, day.valid, day.train_end)
    training = inputs[: day.train_end][kept]
    observed = observe(graph, training, warm_up_bins(starts, len(training)), progress, starts)
    scale = metadata(load_tried(artefacts.int8_decoder(run, LFP), "decoder"))["io"]["features"]["scale"]  # what comes in stays as it is
    return graph, quantize_decoder(graph, observed, scale, made_from, Formats(run.settings.quantize.activations))


def _update(out: Path, run: RunDir, golden: Golden, frontend: Path | None, name: str) -> Update:
    """Compile and run for one target."""
    target = get_target(name)
    prefix = model_prefix(run.requested(f"compile.{name}").get("prefix") or DEFAULT_NAME, LFP.name)
    bundle = out / "firmware" / name / LFP.name
    made = write_bundle(bundle, LFP.name, target.build, frontend, out / "decoder.int8.onnx", prefix)
    expected = Expected(
        golden.decoded, golden.frontend_states | golden.decoder_states, golden.features if golden.samples is not None else None
    )
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as work:
        old, new = Path(work, "old"), Path(work, "new")
        write_bundle(Path(work, "bundle"), LFP.name, target.build, frontend, artefacts.int8_decoder(run, LFP), prefix)
        build(Path(work, "bundle"), target, old)
        built = build(bundle, target, new)
        check_fit(built.elf, target, bundle)
        samples = golden.features if golden.samples is None else golden.samples
        result = simulate_built(built, samples, expected, Path(work, "run"), starts=golden.starts)
        if result.mismatch is not None:
            found = result.mismatch
            raise UserError(
                f"{name}: the new student's firmware differs from onnxruntime: {found.tensor} in step {found.step} is {found.got} and not "
                f"{found.expected}: the old one is kept; please report it"
            )
        changed = change(old, new, prefix)
    return Update(
        steps=result.steps,
        constant_bytes=made.decoder.weight_bytes,
        changed_constant_bytes=changed.changed_constants,
        code_bytes=changed.code,
        changed_code_bytes=changed.changed_code,
    )
