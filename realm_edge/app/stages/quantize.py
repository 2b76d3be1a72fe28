"""The quantize stage: float step graphs to int8 step graphs, checked bit by bit and scored on held-out bins."""

from export.stepgraph import save_model
from export.trial import load_tried
from quantization.scores import score
from quantization.stream import FloatGraphs, check_reference, make_golden, quantise
from quantization.summaries import CALIBRATION, Calibration, QuantizedStream
from quantization.warnings import warnings
from realm_edge.app import artefacts
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.documents import write_document
from realm_edge.numpy_files import Npz
from realm_edge.progress import Progress


def run(run: RunDir, progress: Progress) -> dict[str, QuantizedStream]:
    """Write the int8 step graphs, ``calibration.json`` and the golden vectors of every stream.

    Returns:
        By stream.

    Raises:
        UserError: the export stage is missing or stale, or a tensor cannot be quantised.
    """
    run.require("export")
    heldout = next(session for session in load_sessions(run) if session.heldout)
    made_from = {"settings": run.settings.digest(), "export": run.lineage("export")}
    predictions = Npz(run.file("predictions.npz"))
    outputs, summary, calibration = [], {}, {}
    for stream in artefacts.present(run):
        progress.say(f"  {stream.name}: quantise")
        frontend = load_tried(artefacts.float_frontend(run, stream), "frontend") if stream.has_frontend(heldout) else None
        graphs = FloatGraphs(frontend, load_tried(artefacts.float_decoder(run, stream), "decoder"), made_from)
        made = quantise(graphs, stream, heldout, run.settings, progress)
        calibration[stream.name] = made.about
        save_model(made.decoder, artefacts.int8_decoder(run, stream))
        outputs.append(artefacts.int8_decoder(run, stream))
        if made.frontend is not None:
            save_model(made.frontend, artefacts.int8_frontend(run, stream))
            outputs.append(artefacts.int8_frontend(run, stream))
        golden = make_golden(run.settings, stream, heldout, made.frontend, made.decoder, progress)
        golden.save(artefacts.golden(run, stream))
        outputs.append(artefacts.golden(run, stream))
        checked = check_reference(golden, made.frontend, made.decoder)
        scores = score(golden, graphs.decoder, made.decoder, stream, heldout, run.settings, predictions[f"{stream.name}_wiener"])
        found = warnings(made.about.tensors, scores)
        for line in found:
            progress.say(f"  warning: {stream.name}: {line}")
        bytes_of = made.about.sizes["decoder"].bytes
        summary[stream.name] = QuantizedStream(
            **scores.given(),
            reference_ticks_equal=checked,
            decoder_int8_bytes=bytes_of["weights"],
            decoder_constant_bytes=sum(bytes_of.values()) - bytes_of["states"],
            warnings=tuple(found),
        )
    write_document(run.file("calibration.json"), CALIBRATION, Calibration(streams=calibration), MAKERS["quantize"])
    run.complete("quantize", [*outputs, run.file("calibration.json")], summary)
    return summary
