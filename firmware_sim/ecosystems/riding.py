"""The files of a bundle that build systems of others read: its folder is a package of CMake, a module of Zephyr, a library of PlatformIO
and, for chips that have one, a component of ESP-IDF."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from firmware_sim.builds import get_build, linux_builds
from firmware_sim.bundle_metadata import BundleMetadata
from firmware_sim.ecosystems.facts import facts_of
from firmware_sim.ecosystems.rendering import render
from realm_edge.errors import UserError
from realm_edge.files import write_text
from realm_edge.versions import PACKAGE


def write_riding_files(directory: Path, about: BundleMetadata) -> None:
    """Write them beside ``src``, ``include`` and ``lib`` of the bundle that lies in ``directory``; a few kB in all."""
    values = values_of(about, (path.name for path in (directory / "src").glob("*.c")))
    facts, prefix = facts_of(about.target), about.prefix
    names = {
        "CMakeLists.txt": "CMakeLists.txt",
        f"cmake/{prefix}-config.cmake": "config.cmake",
        f"cmake/{prefix}-config-version.cmake": "config-version.cmake",
    }
    if facts.zephyr:
        names |= {"zephyr/module.yml": "module.yml", "zephyr/CMakeLists.txt": "zephyr.cmake", "zephyr/Kconfig": "Kconfig"}
    if facts.esp_idf:
        names |= {"idf_component.yml": "idf_component.yml"}
    for name, template in names.items():
        write_text(directory / name, render(f"bundle/{template}", values))
    if facts.zephyr:
        write_text(directory / "library.json", json.dumps(_platformio(prefix, values["version"]), indent=2) + "\n")


def values_of(about: BundleMetadata, sources: Iterable[str]) -> dict[str, Any]:
    """What templates may say of a bundle.

    Args:
        sources: names of the C files in ``src``.

    Raises:
        UserError: metadata of an unknown build, or with a version that is none.
    """
    build = get_build(about.target)
    facts, version = facts_of(about.target), about.made_by.get(PACKAGE) or "0.0.0"
    if not re.fullmatch(r"[\w.+-]+", version, flags=re.ASCII):
        raise UserError(f"metadata.json: '{version}' of made_by is no version: rerun 'realm-edge compile'")
    return {
        "prefix": about.prefix,
        "upper": about.prefix.upper(),
        "build": about.target,
        "version": version,
        "sources": sorted(sources),
        "linux": about.target in linux_builds(),
        "pointer_bytes": 8 if about.target in linux_builds() else 4,
        "helium": build.kernels == "helium",
        "zephyr": facts.zephyr,
        "esp_idf": facts.esp_idf,
        "gcc": facts.gcc,
        "flags": facts.flags,
        "machine": build.machine,
        "weight_bytes": about.weights.bytes,
        "state_bytes": about.memory.state_bytes,
        "scratch_bytes": about.memory.scratch_bytes,
        "stack_bytes": about.memory.stack.bytes,
    }


def _platformio(prefix: str, version: str) -> dict[str, Any]:
    """``library.json``: its builder takes ``include`` and ``src`` by themselves; the archive is linked behind them."""
    return {
        "name": prefix,
        "version": version,
        "description": "A decoder of brain signals in integers",
        "frameworks": "*",
        "platforms": "*",
        "headers": [f"{prefix}.h"],
        "build": {"flags": ["-Llib", f"-l{prefix}"]},
    }
