"""The compile stage: int8 step graphs to a bundle for one target, from the ONNX files alone."""

from firmware_sim.bundle_metadata import BundleMetadata
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.compiler.names import DEFAULT_NAME, model_prefix
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.app.summaries import BytesByTensor, CompiledStage
from realm_edge.progress import Progress


def run(run: RunDir, progress: Progress, target: str, build: str, prefix: str | None = None) -> dict[str, dict[str, CompiledStage]]:
    """Write ``firmware/<target>/<stream>/`` for every stream.

    Args:
        build: the instruction set of the target, an entry of :func:`firmware_sim.builds.builds`; targets may share one.
        prefix: what C names begin with, before the stream; None for "realm".

    Returns:
        By stream, of "frontend", where there is one, and "decoder".

    Raises:
        UserError: the quantize stage is missing or stale, target or prefix is none, or a graph holds what cannot be compiled.
    """
    run.require("quantize")
    outputs, summary = [], {}
    for stream in progress.track(artefacts.present(run), f"compile for {target}"):
        folder = artefacts.bundle(run, stream, target)
        frontend = artefacts.int8_frontend(run, stream)
        taken = frontend if frontend.exists() else None
        names = model_prefix(DEFAULT_NAME if prefix is None else prefix, stream.name)
        made = write_bundle(folder, stream.name, build, taken, artefacts.int8_decoder(run, stream), names)
        outputs += sorted(path for path in folder.rglob("*") if path.is_file())
        summary[stream.name] = _summary(made)
    run.complete(f"compile.{target}", outputs, summary)
    return summary


def _summary(bundle: BundleMetadata) -> dict[str, CompiledStage]:
    stages = {"frontend": bundle.frontend, "decoder": bundle.decoder}
    return {
        name: CompiledStage(
            weight_bytes=stage.weight_bytes,
            state_bytes=stage.state_bytes,
            scratch_bytes=stage.scratch_bytes,
            bytes_by_tensor=BytesByTensor(
                constants={constant.symbol: constant.bytes for constant in stage.constants},
                states={state.name: state.nbytes for state in stage.states},
                scratch={tensor.name: tensor.bytes for tensor in stage.scratch},
            ),
            macs_by_layer={kernel.node: kernel.macs for kernel in stage.kernels if kernel.macs},
        )
        for name, stage in stages.items()
        if stage
    }
