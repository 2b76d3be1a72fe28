"""``start`` sets up once, installs QEMU where it is missing or says who can, and passes options on. What it calls are fakes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QEMU = ("qemu-system-arm", "qemu-system-riscv32", "qemu-x86_64")
WORKERS = "-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder"
CHECKS = ("ruff", "mypy", "lint-imports", "pytest")


class Machine:
    """A checkout with an environment, and a PATH that holds nothing but fakes; each fake logs its call."""

    def __init__(self, root: Path) -> None:
        self.root, self.programs, self.log = root, root / "bin", root / "log.txt"
        self.programs.mkdir(parents=True)
        checkout = root / "checkout"
        (checkout / ".venv" / "bin").mkdir(parents=True)
        (checkout / ".ci").mkdir()
        for name in ("start", ".ci/run", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, checkout / name)
        self.checkout = checkout
        for name in ("bash", "dirname", "cat", "env"):
            (self.programs / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
        self.fake("id", "echo 0")
        self.fake(".venv/bin/python", f'case "$*" in "-m pip install"*) ;; *) exec {sys.executable} "$@" ;; esac', checkout)
        for name in ("realm-edge", *CHECKS):
            self.fake(f".venv/bin/{name}", "pwd", checkout)
        for name in QEMU:
            self.fake(name)

    def fake(self, name: str, body: str = "", folder: Path | None = None) -> None:
        path = (folder or self.programs) / name
        path.write_text(f'#!/bin/bash\necho "{Path(name).name} $*" >>{self.log}\n{body}\n')
        path.chmod(0o755)

    def run(self, *arguments: str, program: str = "start") -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environment = {"PATH": str(self.programs), "HOME": str(self.root)}
        command = [str(self.checkout / program), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.root, env=environment, stdin=subprocess.DEVNULL
        )

    def calls(self, *names: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.split()[0] in names]

    def pip_calls(self) -> list[str]:
        return [line for line in self.calls("python") if line.startswith("python -m pip install")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def test_the_environment_is_brought_up_to_date_once_and_again_when_the_pins_change(machine: Machine) -> None:
    assert machine.run("run").returncode == 0
    [call] = machine.pip_calls()
    assert call.endswith(f"-e {machine.checkout}[test] -c {machine.checkout}/constraints.txt")
    assert machine.run("run").returncode == 0
    assert machine.pip_calls() == []
    with (machine.checkout / "constraints.txt").open("a") as stream:
        stream.write("# changed\n")
    machine.run("run")
    assert len(machine.pip_calls()) == 1


def test_a_failed_installation_is_tried_again(machine: Machine) -> None:
    machine.fake(".venv/bin/python", f'case "$*" in "-m pip install"*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac', machine.checkout)
    for _ in range(2):
        done = machine.run("run")
        assert done.returncode == 2 and "pip could not install the dependencies" in done.stderr
        assert len(machine.pip_calls()) == 1


def test_run_passes_options_on_and_keeps_the_working_directory(machine: Machine) -> None:
    done = machine.run("run", "--data", "my file.nwb", "--json")
    assert machine.calls("realm-edge") == ["realm-edge run --data my file.nwb --json"]
    assert done.stdout.strip() == str(machine.root)


def test_test_runs_every_check_in_the_checkout(machine: Machine) -> None:
    done = machine.run("test", "-k", "rundir")
    assert machine.calls(*CHECKS) == ["ruff check .", "ruff format --check .", "mypy ", "lint-imports ", f"pytest {WORKERS} -k rundir"]
    assert set(done.stdout.split()) == {str(machine.checkout)}


def test_a_failing_check_fails_the_whole(machine: Machine) -> None:
    machine.fake(".venv/bin/mypy", "exit 1", machine.checkout)
    assert machine.run("test").returncode == 1
    assert machine.calls("pytest") == []


def test_ci_runs_the_same_command_and_the_tests_on_rtl_for_which_verilator_is_installed(machine: Machine) -> None:
    machine.fake("apt-get")
    assert machine.run("test").returncode == 0
    assert machine.calls("apt-get") == []
    assert machine.run(program=".ci/run").returncode == 0
    assert machine.calls("apt-get") == ["apt-get update -q", "apt-get install -y -q --no-install-recommends verilator g++ make"]
    assert machine.calls("pytest") == [f"pytest {WORKERS} -m rtl or not oracle"]


@pytest.mark.parametrize("missing", QEMU)
def test_missing_qemu_is_installed_by_root(machine: Machine, missing: str) -> None:
    (machine.programs / missing).unlink()
    machine.fake("apt-get")
    assert machine.run("run").returncode == 0
    install = "apt-get install -y -q --no-install-recommends qemu-system-arm qemu-system-misc qemu-user"
    assert machine.calls("apt-get") == ["apt-get update -q", install]


def test_missing_qemu_is_installed_with_sudo_by_others(machine: Machine) -> None:
    (machine.programs / QEMU[0]).unlink()
    machine.fake("id", "echo 1000")
    machine.fake("apt-get")
    machine.fake("sudo", 'shift; "$@"')
    assert machine.run("run").returncode == 0
    assert [call.split()[:3] for call in machine.calls("sudo")] == [["sudo", "-n", "apt-get"], ["sudo", "-n", "env"]]


def test_who_can_install_qemu_is_said_where_start_cannot(machine: Machine) -> None:
    (machine.programs / QEMU[0]).unlink()
    done = machine.run("run")
    assert done.returncode == 2
    assert "without apt-get it has to be installed by hand (Debian's packages: qemu-system-arm qemu-system-misc qemu-user)" in done.stderr
    machine.fake("apt-get")
    machine.fake("id", "echo 1000")
    done = machine.run("run")
    assert done.returncode == 2
    assert "neither root nor sudo here: ask for 'apt-get install qemu-system-arm" in done.stderr
    machine.fake("id", "echo 0")
    machine.fake("apt-get", "exit 100")
    done = machine.run("run")
    assert done.returncode == 2
    assert "could not be installed: run 'apt-get install qemu-system-arm" in done.stderr
    assert machine.calls("realm-edge") == []


def test_without_python_3_11_it_says_so(machine: Machine) -> None:
    shutil.rmtree(machine.checkout / ".venv")
    machine.fake("python3", "exit 1")
    done = machine.run("run")
    assert done.returncode == 2
    assert "Python 3.11 or newer is needed" in done.stderr


def test_another_word_shows_the_usage(machine: Machine) -> None:
    for arguments in ((), ("paint",)):
        done = machine.run(*arguments)
        assert done.returncode == 2
        assert "usage: ./start run" in done.stderr


def test_scripts_are_executable() -> None:
    assert os.access(ROOT / "start", os.X_OK) and os.access(ROOT / ".ci" / "run", os.X_OK)
