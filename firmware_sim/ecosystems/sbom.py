"""A bundle's bill of materials: CycloneDX 1.5, as JSON (cyclonedx.org/docs/1.5/json)."""

from collections.abc import Mapping
from typing import Any

from firmware_sim.bundle_metadata import BundleMetadata
from realm_edge.versions import PACKAGE

SBOM = "sbom.cdx.json"


def sbom(about: BundleMetadata, digests: Mapping[str, str]) -> dict[str, Any]:
    """What a bundle consists of: its files, the step graphs that they were made from, and the tools that made them.

    There is nothing of others in it to list: the code is generated, and kernels bring no runtime along. It has neither time nor serial
    number, so that equal bundles have equal ones.

    Args:
        digests: SHA-256 by the name of each file.
    """
    version = about.made_by.get(PACKAGE, "")
    tools = [{"type": "application", "name": name, "version": number} for name, number in sorted(about.made_by.items())]
    graphs = [_hashed("machine-learning-model", f"{stage} (int8 step graph)", digest) for stage, digest in sorted(about.made_from.items())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "firmware",
                "bom-ref": about.prefix,
                "name": about.prefix,
                "version": f"{version}+w{about.weights.value.removeprefix('0x')}",
                "description": f"A decoder of brain signals in integers, for {about.target}",
            },
            "tools": {"components": tools},
        },
        "components": [*graphs, *(_hashed("file", name, digest) for name, digest in sorted(digests.items()))],
    }


def _hashed(kind: str, name: str, sha256: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": name, "name": name, "hashes": [{"alg": "SHA-256", "content": sha256}]}
