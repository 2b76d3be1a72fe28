"""The export stage: students and front ends to float step graphs, each checked in onnxruntime against what it came from."""

from export.decoder_graph import decoder_graph
from export.stepgraph import save_model
from export.stream import decoder_error, frontend_of
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.app.summaries import ExportErrors
from realm_edge.checkpoint import load_student
from realm_edge.errors import UserError
from realm_edge.progress import Progress

TOLERANCE = 1e-5  # of the largest absolute value: float32 against float32


def run(run: RunDir, progress: Progress) -> dict[str, ExportErrors]:
    """Write the float step graphs of every stream.

    Returns:
        By stream.

    Raises:
        UserError: the train stage is missing or stale, or a graph differs from its source by more than float32 rounding.
    """
    run.require("train")
    heldout = next(session for session in load_sessions(run) if session.heldout)
    made_from = {"settings": run.settings.digest(), "train": run.lineage("train")}
    outputs, summary = [], {}
    for stream in artefacts.present(run):
        inputs = stream.inputs(heldout)
        student = load_student(artefacts.student(run, stream))
        decoder = decoder_graph(student, 1000.0 / run.settings.bin_ms, heldout.target_names, heldout.target_unit, made_from)
        error, frontend_error = decoder_error(decoder, student, inputs, progress), None
        save_model(decoder, artefacts.float_decoder(run, stream))
        outputs.append(artefacts.float_decoder(run, stream))
        if stream.has_frontend(heldout):
            frontend, frontend_error = frontend_of(stream, heldout, run.settings, made_from)
            save_model(frontend, artefacts.float_frontend(run, stream))
            outputs.append(artefacts.float_frontend(run, stream))
        for name, found in (("frontend_error", frontend_error), ("decoder_error", error)):
            if found is not None and found > TOLERANCE:
                raise UserError(f"{stream.name} {name}: {found:.2g} of the largest value, above {TOLERANCE:g}: please report it")
        summary[stream.name] = ExportErrors(frontend_error=frontend_error, decoder_error=error)
    run.complete("export", outputs, summary)
    return summary
