"""JSON Schemas of the files that others may read or write; ``python -m realm_edge.app.schemas docs/schemas`` writes them.

The models that they come from are what reads those files here.
"""

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from export.metadata import GraphMetadata
from firmware_sim.bundle_metadata import BundleMetadata
from realm_edge.app.rundir import StageRecord
from realm_edge.files import write_text
from realm_edge.readers.cache import Header
from realm_edge.settings import Settings

SCHEMAS: dict[str, type[BaseModel]] = {
    "settings": Settings,  # --config, and a run's config.toml
    "recording": Header,  # recording.json of a .realm directory
    "stage": StageRecord,  # stages/<stage>.json of a run
    "step-graph": GraphMetadata,  # metadata properties of an .onnx
    "bundle": BundleMetadata,  # metadata.json of a bundle
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
