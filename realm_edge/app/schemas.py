"""JSON Schemas of the files that others may read or write; ``python -m realm_edge.app.schemas docs/schemas`` writes them.

The models that they come from are what reads those files here.
"""

import json
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, create_model

from export.metadata import GraphMetadata
from firmware_sim.board.form import BOARD, Board
from firmware_sim.bundle_metadata import BundleMetadata
from firmware_sim.cycles.form import CYCLES, CyclesProfile
from firmware_sim.verdict.counts import COUNTS, Counts
from quantization.summaries import CALIBRATION, Calibration
from realm_edge.app.adapt.form import ADAPTATION, Adaptation
from realm_edge.app.graph_forms import CHECKED_GRAPH, COMPILED_GRAPH, CheckedGraph, CompiledGraph
from realm_edge.app.report.facts import REPORT, Facts
from realm_edge.app.rundir import StageRecord
from realm_edge.app.stages.data import INDEX, Index
from realm_edge.app.summaries import METRICS, SIMULATION, SUMMARIES, VERIFICATION, Metrics, Simulation, Verification
from realm_edge.app.verdict.form import VERDICT, Verdict
from realm_edge.evaluation.forms import (
    EVALUATION,
    INFORMATION,
    STABILITY,
    STUDY,
    Evaluation,
    InformationSummary,
    StabilitySummary,
    StudySummary,
)
from realm_edge.files import write_text
from realm_edge.readers.cache import Header
from realm_edge.settings import Settings


def _document(form: str, model: type[BaseModel]) -> type[BaseModel]:
    """With the header that :func:`realm_edge.documents.write_document` puts in front."""
    header: dict[str, Any] = {"format": (Literal[form], ...), "made_by": (dict[str, str], ...)}
    return create_model(model.__name__, __base__=model, **header)


# The summary of a record is that of one stage or another.
_RECORD = create_model("StageRecord", __base__=StageRecord, summary=(reduce(or_, SUMMARIES.values()), ...))

SCHEMAS: dict[str, type[BaseModel]] = {
    "settings": Settings,  # --config, and a run's config.toml
    "recording": Header,  # recording.json of a .realm directory
    "stage": _RECORD,  # stages/<stage>.json of a run
    "sessions": _document(INDEX, Index),  # data/index.json
    "metrics": _document(METRICS, Metrics),  # metrics.json
    "step-graph": GraphMetadata,  # metadata properties of an .onnx
    "checked-graph": _document(CHECKED_GRAPH, CheckedGraph),  # of 'check-onnx --json'
    "compiled-graph": _document(COMPILED_GRAPH, CompiledGraph),  # compiled.json of 'compile --onnx'
    "calibration": _document(CALIBRATION, Calibration),  # calibration.json
    "verification": _document(VERIFICATION, Verification),  # verification.json
    "bundle": BundleMetadata,  # metadata.json of a bundle
    "simulation": _document(SIMULATION, Simulation),  # simulation/<target>.json
    "board": create_model("Board", __base__=_document(BOARD, Board), digest=(str, ...)),  # boards/<name>.json
    "report": _document(REPORT, Facts),  # report.json
    "verdict": _document(VERDICT, Verdict),  # verdict.json
    "counts": _document(COUNTS, Counts),  # verdict/counts/*.json
    "adaptation": _document(ADAPTATION, Adaptation),  # adaptation.json
    "cycles": _document(CYCLES, CyclesProfile),  # of 'cycles --json'
    "evaluation": _document(EVALUATION, Evaluation),  # evaluation.json
    "study": _document(STUDY, StudySummary),  # study.json
    "stability-study": _document(STABILITY, StabilitySummary),  # study.json of 'study stability'
    "information-study": _document(INFORMATION, InformationSummary),  # study.json of 'study information'
}


def schema_text(name: str) -> str:
    """The schema of one kind of file, as it is published."""
    return json.dumps(SCHEMAS[name].model_json_schema(by_alias=True), indent=2, sort_keys=True) + "\n"


def main(folder: str) -> None:
    """Write all of them."""
    for name in SCHEMAS:
        write_text(Path(folder, f"{name}.schema.json"), schema_text(name))


if __name__ == "__main__":
    main(sys.argv[1])
