"""The environment with mamba-ssm.

mamba-ssm cannot share an environment with TVM (its pin of apache-tvm-ffi) and has no wheel without CUDA, so it is built from its sdist with
the CUDA part left out. The environment lies in the user's cache directory and is made once.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS = ("torch", "triton", "einops", "transformers", "huggingface_hub", "safetensors", "packaging", "ninja", "setuptools", "wheel")
PACKAGE = "mamba-ssm==2.3.2.post1"


def install(environment: Path, *arguments: str, **variables: str) -> None:
    python = environment / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with mamba-ssm and this project's version of torch."""
    if "oracle" not in request.config.option.markexpr:  # such as -m "not slow", which replaces the default
        pytest.skip("installs packages: only with -m oracle")
    constraints = ROOT / "constraints.txt"
    recipe = "\0".join((sys.version, PACKAGE, *NEEDS, constraints.read_text(encoding="utf-8")))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environment = cache / "realm-edge" / f"mamba-ssm-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    finished = environment / "finished"
    if not finished.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        install(environment, "-c", str(constraints), *NEEDS)
        build = {"MAMBA_FORCE_BUILD": "TRUE", "MAMBA_SKIP_CUDA_BUILD": "TRUE"}
        install(environment, "--no-build-isolation", "--no-deps", "--no-binary", "mamba-ssm", PACKAGE, **build)
        finished.touch()
    return environment / "bin" / "python"
