"""Bundles for gateways that run Linux: a shared library with the same functions, and a Python wheel around it."""

import base64
import hashlib
import zipfile
from importlib.resources import files
from pathlib import Path

from firmware_sim.build import FLAGS
from firmware_sim.builds import get_build
from firmware_sim.bundle_metadata import BundleMetadata
from firmware_sim.ecosystems.rendering import render
from firmware_sim.toolchain import zig_cc
from realm_edge.files import write_bytes
from realm_edge.versions import PACKAGE

_FIRST = (1980, 1, 1, 0, 0, 0)  # a zip has no earlier time


def write_shared_library(directory: Path, about: BundleMetadata) -> None:
    """Link ``lib/lib<prefix>.so`` of a bundle's sources and kernels; it shows the functions of its headers alone."""
    prefix, compiler = about.prefix, get_build(about.target).compiler
    stages = [stage for stage in (about.frontend, about.decoder) if stage]
    shown = [f"{prefix}_{name}" for name in ("init", "step_block", "weights_crc32")]
    shown += [f"{stage.prefix}_init" for stage in stages]
    shown += [f"{stage.prefix}_{'block' if stage is about.frontend else 'step'}" for stage in stages]
    exports = directory / "exports.map"
    write_bytes(exports, f"{{ global: {' '.join(f'{name};' for name in shown)} local: *; }};\n".encode())
    sources = sorted(f"src/{path.name}" for path in (directory / "src").glob("*.c"))
    kernels = sorted(f"lib/{path.name}" for path in (directory / "lib").glob("*.o"))
    name = f"lib{prefix}.so"
    flags = [flag for flag in FLAGS if flag != "-ffreestanding"]
    linked = ["-shared", "-fPIC", "-s", f"-Wl,-soname,{name}", "-Wl,--version-script=exports.map", "-Wl,--build-id=none"]
    machine = ["-target", compiler.triple, f"-mcpu={compiler.cpu}"]
    zig_cc([*machine, *flags, *linked, "-Iinclude", *sources, *kernels, "-o", f"lib/{name}"], cwd=directory)
    exports.unlink()


def write_wheel(directory: Path, about: BundleMetadata) -> Path:
    """Write the wheel of a bundle that has its shared library and its metadata, ``python/<name>.whl``; the same bytes each time.

    The package has the bundle's prefix for a name and :mod:`firmware_sim.ecosystems.decoder` in it. Its version ends in the checksum of
    the weights, so that pip takes another model for another version.
    """
    prefix, tag = about.prefix, _tag(about.target)
    made_by = about.made_by.get(PACKAGE, "").partition("+")[0] or "0.0.0"  # a version has one local part
    version = f"{made_by}+w{about.weights.value.removeprefix('0x')}"
    info = f"{prefix}-{version}.dist-info"
    values = {"prefix": prefix, "version": version, "tag": tag, "build": about.target}
    content = {
        f"{prefix}/__init__.py": files("firmware_sim.ecosystems").joinpath("decoder.py").read_bytes(),
        f"{prefix}/lib{prefix}.so": (directory / "lib" / f"lib{prefix}.so").read_bytes(),
        f"{prefix}/metadata.json": (directory / "metadata.json").read_bytes(),
        f"{info}/METADATA": render("wheel/METADATA", values).encode(),
        f"{info}/WHEEL": render("wheel/WHEEL", values).encode(),
    }
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = directory / "python" / f"{prefix}-{version}-py3-none-{tag}.whl"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as wheel:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, _FIRST)
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, data)
    return path


def _tag(build: str) -> str:
    """The platform of a wheel, by PEP 600: the oldest glibc, as the triple names it, and the architecture."""
    machine, _, abi = get_build(build).compiler.triple.split("-", 2)
    return f"manylinux_{abi.removeprefix('gnu.').replace('.', '_')}_{machine}"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
