"""The samples that they make up, and how projects are built."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.firmware_sim.compiled_graphs import CHANNELS, TICKS

BINS = 20  # of firmware_sim/ecosystems/templates/sample/macros.j2


def samples() -> NDArray[np.int16]:
    """What the samples make up in place of an ADC, (ticks, channels)."""
    seed, values = 1, []
    for _ in range(BINS * TICKS * CHANNELS):
        seed = (seed * 1664525 + 1013904223) % 2**32
        values.append((seed >> 16) - 32768)
    return np.array(values, np.int16).reshape(-1, CHANNELS)


def ran(*command: object, cwd: Path | None = None, **environment: str) -> str:
    """What a command that ends well writes to stdout."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def cmake(program: str = "cmake") -> str:
    found = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: pip install cmake ninja")
    return found


def host_compiler() -> tuple[str, ...]:
    """The machine's own, or zig, which takes longer to be looked over."""
    return () if shutil.which("cc") else ZIG


ZIG = (f"-DCMAKE_C_COMPILER={sys.executable}", "-DCMAKE_C_COMPILER_ARG1=-m ziglang cc")


def configured(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The first half of a build below ``source``."""
    command = [cmake(), "-G", "Ninja", "-S", str(source), "-B", str(source / "build"), "-DCMAKE_BUILD_TYPE=Release", *arguments]
    command += [f"-DCMAKE_MAKE_PROGRAM={cmake('ninja')}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def built(source: Path, *arguments: str) -> Path:
    """Configure and build; returns the folder of the build."""
    done = configured(source, *arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ran(cmake(), "--build", source / "build")
    return source / "build"


def shown_by_ctest(source: Path, toolchain: str) -> list[str]:
    """What the program of a project prints in QEMU."""
    shown = ran(cmake("ctest"), "--test-dir", built(source, "--toolchain", toolchain), "-V", "--timeout", "60")
    return [line.removeprefix("1: ") for line in shown.splitlines() if line.startswith(("1: valid", "1: warming"))]
