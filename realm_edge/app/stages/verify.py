"""The verify stage: the int8 step graphs of a run over long input, over hostile input, and after their state was lost."""

import numpy as np

from export.stepgraph import metadata
from export.trial import load_tried
from quantization.drive import Int8Chain
from quantization.recorded import Recorded
from quantization.verification import Plan, Subject, verify
from realm_edge.app import artefacts
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.app.summaries import VERIFICATION, Verification
from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.progress import Progress


def run(run: RunDir, progress: Progress, bins: int | None = None, plan: Plan | None = None) -> Verification:
    """Measure every stream and write ``verification.json``.

    Args:
        bins: of the ladder, with all ticks of the front end; None takes those of the plan.

    Raises:
        UserError: the quantize stage is missing or stale, or the number of bins is not positive.
    """
    if bins is not None and bins < 1:
        raise UserError(f"--bins {bins}: use a positive number of bins")
    run.require("quantize")
    session = next(session for session in load_sessions(run) if session.heldout)
    streams = {}
    for stream in artefacts.present(run):
        progress.say(f"  {stream.name}: verify")
        frontend = load_tried(artefacts.int8_frontend(run, stream), "frontend") if stream.has_frontend(session) else None
        graphs = Int8Chain(frontend, load_tried(artefacts.int8_decoder(run, stream), "decoder"))
        recorded = Recorded(stream, session, run.settings, np.asarray(metadata(graphs.decoder)["io"]["features"]["scale"]))
        subject = Subject(graphs, load_tried(artefacts.float_decoder(run, stream), "decoder"), recorded, plan or Plan(), progress)
        streams[stream.name] = verify(subject, bins)
    summary = Verification(
        ok=all(stream.ok for stream in streams.values()),
        synthetic=session.synthetic,
        bin_ms=run.settings.bin_ms,
        streams=streams,
    )
    write_document(run.file("verification.json"), VERIFICATION, summary, MAKERS["verify"])
    run.complete("verify", [run.file("verification.json")], summary)
    return summary
