"""The wheel holds what it needs, no tests, and runs outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("realm_edge", "export", "quantization", "firmware_sim")
DATA_SUFFIXES = (".toml", ".typed", ".c", ".h", ".S", ".ld", ".j2", ".sv", ".cpp")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    return folder


def _run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``realm-edge`` from the wheel alone: the working directory and PYTHONPATH are outside the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "realm_edge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=installed.parent, env=environment)


def test_every_module_and_data_file_is_in_the_wheel_and_no_test(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", *DATA_SUFFIXES) and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in wanted} == {".py", *DATA_SUFFIXES}
    assert wanted <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_installed_package_is_the_one_that_runs(installed: Path) -> None:
    code = "import realm_edge, firmware_sim; print(realm_edge.__file__); print(firmware_sim.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=installed.parent, env=environment)
    assert all(line.startswith(str(installed)) for line in shown.stdout.splitlines())


def test_help_and_targets_run_outside_the_checkout(installed: Path) -> None:
    shown = _run(installed, "--help")
    assert shown.returncode == 0 and "simulate" in shown.stdout
    shown = _run(installed, "targets")
    assert shown.returncode == 0 and shown.stdout.startswith("cortex-m4")


def test_errors_are_one_line_outside_the_checkout(installed: Path) -> None:
    shown = _run(installed, "run", "--preset", "huge")
    assert shown.returncode == 2
    assert (
        shown.stderr
        == "realm-edge: error: unknown preset 'huge': use one of demo, implant-l, implant-m, implant-s, implant-s-realm, realm, realm-s\n"
    )
