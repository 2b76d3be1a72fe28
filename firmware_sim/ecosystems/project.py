"""A project of an ecosystem around a bundle: a copy of it where the ecosystem looks for it, and a sample that decodes made-up samples."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware_sim.bundle import check_manifest, load_metadata
from firmware_sim.bundle_metadata import BundleMetadata
from firmware_sim.ecosystems.facts import facts_of
from firmware_sim.ecosystems.rendering import render
from firmware_sim.ecosystems.riding import values_of
from realm_edge.errors import UserError
from realm_edge.files import replacing_directory, write_text

_OWN_STACK = 2048  # bytes: of the task that calls, beside the bundle's


def write_project(bundle: Path, ecosystem: str, out: Path) -> list[str]:
    """Write the project ``out``, a new folder; it appears whole or not at all. Returns the commands that build it.

    Args:
        bundle: a folder that ``realm-edge compile`` wrote.
        ecosystem: a key of :data:`ECOSYSTEMS`.

    Raises:
        UserError: the bundle is not as it was compiled, the ecosystem has nothing for its core, or ``out`` is there with
            something in it, or within the bundle.
    """
    check_manifest(bundle)
    about = load_metadata(bundle)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UserError(f"{out}: is there, and would be replaced: name a new folder")
    if out.resolve().is_relative_to(bundle.resolve()):
        raise UserError(f"{out}: lies within the bundle that is copied there: name a folder outside of it")
    values = values_of(about, (path.name for path in (bundle / "src").glob("*.c")))
    values["task_stack_bytes"] = -(-(about.memory.stack.bytes + _OWN_STACK) // 1024) * 1024
    with replacing_directory(out) as partial:
        commands = ECOSYSTEMS[ecosystem](bundle, about, partial, values)
    return [command.format(out=shlex.quote(str(out))) for command in commands]


def _cmake(bundle: Path, about: BundleMetadata, out: Path, values: dict[str, Any]) -> list[str]:
    shutil.copytree(bundle, out / about.prefix)
    _write(out, values, {"CMakeLists.txt": "cmake/CMakeLists.txt", "main.c": "sample/sample.c"}, entry="main")
    if values["gcc"]:
        _write(out, values, {f"{values['gcc']}.cmake": "cmake/toolchain.cmake"})
    if values["gcc"] == "arm-none-eabi":
        _write(out, values, {"vectors.c": "cmake/vectors.c", "qemu.ld": "cmake/qemu.ld"})
    toolchain = f" --toolchain {values['gcc']}.cmake" if values["gcc"] else ""
    return [f"cmake -S {{out}} -B {{out}}/build{toolchain}", "cmake --build {out}/build", "ctest --test-dir {out}/build -V"]


def _zephyr(bundle: Path, about: BundleMetadata, out: Path, values: dict[str, Any]) -> list[str]:
    _expect(bundle, about, "zephyr", "module of Zephyr")
    shutil.copytree(bundle, out / about.prefix)
    names = ("CMakeLists.txt", "prj.conf", "west.yml")
    _write(out, values, {name: f"zephyr/{name}" for name in names} | {"src/main.c": "sample/sample.c"}, entry="main")
    return [f"west build -b {facts_of(about.target).zephyr_board or '<board>'} {{out}} -t run"]


def _platformio(bundle: Path, about: BundleMetadata, out: Path, values: dict[str, Any]) -> list[str]:
    _expect(bundle, about, "platformio", "sample of PlatformIO")
    platform, board = facts_of(about.target).platformio
    shutil.copytree(bundle, out / "lib" / about.prefix)
    names = {"platformio.ini": "platformio/platformio.ini", "src/main.cpp": "sample/sample.ino"}
    _write(out, values, names, platform=platform, board=board)
    return ["pio run -d {out}"]


def _arduino(bundle: Path, about: BundleMetadata, out: Path, values: dict[str, Any]) -> list[str]:
    """A library of its own: Arduino looks for headers in ``src``, and for archives in folders of cores below it."""
    _expect(bundle, about, "arduino", "library of Arduino")
    shutil.copytree(bundle / "src", out / "src")
    shutil.copytree(bundle / "include", out / "src", dirs_exist_ok=True)
    for core in facts_of(about.target).arduino:
        (out / "src" / core).mkdir()
        shutil.copyfile(bundle / "lib" / f"lib{about.prefix}.a", out / "src" / core / f"lib{about.prefix}.a")
    shutil.copyfile(bundle / "metadata.json", out / "metadata.json")
    _write(out, values, {"library.properties": "arduino/library.properties", "examples/decode/decode.ino": "sample/sample.ino"})
    return ["arduino-cli compile -b <board> --library {out} {out}/examples/decode"]


def _esp_idf(bundle: Path, about: BundleMetadata, out: Path, values: dict[str, Any]) -> list[str]:
    _expect(bundle, about, "esp_idf", "component of ESP-IDF")
    shutil.copytree(bundle, out / "components" / about.prefix)
    names = {
        "CMakeLists.txt": "esp-idf/CMakeLists.txt",
        "sdkconfig.defaults": "esp-idf/sdkconfig.defaults",
        "main/CMakeLists.txt": "esp-idf/main.cmake",
        "main/main.c": "sample/sample.c",
    }
    _write(out, values, names, entry="app_main")
    return ["idf.py -C {out} build"]


ECOSYSTEMS: dict[str, Callable[[Path, BundleMetadata, Path, dict[str, Any]], list[str]]] = {
    "cmake": _cmake,
    "zephyr": _zephyr,
    "platformio": _platformio,
    "arduino": _arduino,
    "esp-idf": _esp_idf,
}


def _expect(bundle: Path, about: BundleMetadata, what: str, named: str) -> None:
    if not getattr(facts_of(about.target), what):
        raise UserError(f"{bundle}: compiled for '{about.target}', for which there is no {named}; take --for cmake, or another target")


def _write(out: Path, values: dict[str, Any], names: dict[str, str], **more: str) -> None:
    for name, template in names.items():
        write_text(out / name, render(template, values | more))
