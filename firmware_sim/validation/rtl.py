"""Builds the RTL of a core with Verilator, once for each version and configuration, in the user's cache folder."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import as_file, files
from pathlib import Path

from realm_edge.errors import UserError
from realm_edge.files import cache_folder

TOOLS = {"verilator": "verilator", "g++": "g++", "make": "make"}  # program -> Debian's package
FLAGS = (
    *("--cc", "--exe", "--build", "-j", "1", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"),
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-BLKANDNBLK", "-Wno-MODDUP"),  # the sources are not ours
    *("-CFLAGS", "-O2", "-MAKEFLAGS", "OPT_FAST=-O2", "--top-module", "bench"),
)


@dataclass(frozen=True)
class Rtl:
    """One core's configuration: how Verilator reads it. Paths are below the package's RTL folder."""

    core: str
    package: str  # on PyPI
    bench: str  # file in testbench/
    limit_percent: float  # of the worst error that is accepted
    wait_limits_percent: dict[str, float]  # the same with wait states, by port
    defines: tuple[str, ...]
    sources: tuple[str, ...]
    libraries: tuple[str, ...]
    includes: tuple[str, ...]


@cache
def rtl_cores() -> dict[str, Rtl]:
    """The cores whose RTL there is, by the names of their cycle tables."""
    table = tomllib.loads(files("firmware_sim").joinpath("validation/rtl.toml").read_text(encoding="utf-8"))
    packages = table.pop("packages")
    return {name: _rtl(name, row, packages[row["package"]]) for name, row in table.items()}


def _rtl(name: str, row: dict, package: dict) -> Rtl:
    paths = {key: tuple(package[key]) for key in ("sources", "libraries", "includes")}
    defines = (*package["defines"], *row["defines"])
    return Rtl(name, row["package"], row["bench"], row["limit_percent"], row["wait_limits_percent"], defines, **paths)


def get_rtl(core: str) -> Rtl:
    """Look a core's RTL up.

    Raises:
        UserError: there is none; the message lists those there are.
    """
    if core not in rtl_cores():
        raise UserError(f"core '{core}': no public RTL to validate it against; use one of {', '.join(rtl_cores())}")
    return rtl_cores()[core]


def versions(rtl: Rtl) -> dict[str, str]:
    """What a figure depends on: the RTL package and Verilator, with their versions.

    Raises:
        UserError: one of them is not installed; the message says how to get it.
    """
    for program, package in TOOLS.items():
        if shutil.which(program) is None:
            raise UserError(f"{program} is not installed: on Debian 'apt-get install {package}'")
    shown = subprocess.run(["verilator", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"Verilator (\S+)", shown)
    return {rtl.package: _package(rtl).version, "verilator": found[1] if found else "unknown"}


def _package(rtl: Rtl) -> Distribution:
    try:
        return distribution(rtl.package)
    except PackageNotFoundError:
        raise UserError(f"{rtl.package} (the RTL of {rtl.core}) is not installed: pip install 'realm-edge[rtl]'") from None


def build_rtl(core: str, folder: Path | None = None) -> Path:
    """Return the compiled simulation of ``core``; build it when ``folder`` (default: the user's cache) holds none of this recipe.

    Raises:
        UserError: no RTL of that core, a tool or the package is missing, or the build failed.
    """
    rtl = get_rtl(core)
    read = (rtl.defines, rtl.sources, rtl.libraries, rtl.includes, FLAGS, sorted(versions(rtl).items()))
    recipe = hashlib.sha256(repr(read).encode())
    with as_file(files("firmware_sim").joinpath("validation/testbench")) as bench:
        sources = (bench / rtl.bench, bench / "bench.cpp")
        for source in sources:
            recipe.update(source.read_bytes())
        program = (folder or cache_folder()) / f"rtl-{core}-{recipe.hexdigest()[:16]}"
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="rtl-", dir=program.parent) as work:
                _verilate(rtl, sources, Path(work))
                os.replace(Path(work) / "sim", program)
    return program


def _verilate(rtl: Rtl, sources: tuple[Path, ...], work: Path) -> None:
    module = rtl.package.replace("-", "_")
    root = Path(str(_package(rtl).locate_file(module))) / "system_verilog"
    command: list[str | Path] = ["verilator", *FLAGS, "-Mdir", work / "obj", "-o", work / "sim"]
    command += [f"-D{define}" for define in rtl.defines] + [f"+incdir+{root / path}" for path in rtl.includes]
    for path in rtl.libraries:
        command += ["-y", root / path]
    command += [*(root / path for path in rtl.sources), *sources]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=work)
    if done.returncode:
        lines = (done.stderr + done.stdout).splitlines()
        first = next((line for line in lines if "rror" in line), "no message")
        raise UserError(f"{rtl.package}: verilator could not build {rtl.core}: {first}; Verilator 5.006 and newer are known to work")
