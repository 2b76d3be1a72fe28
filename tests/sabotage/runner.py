"""Runs tests of a copy of this project, each call in a forked child of one process that has imported the libraries: starting takes half
the time of a test otherwise.

As a program in the copy it reads lists of node ids, a JSON line each, and answers with what came of them, a JSON line each.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PACKAGES = ("realm_edge", "export", "quantization", "firmware_sim")
COPIED = (*PACKAGES, "tests", "examples", "docs", "pyproject.toml", "README.md", "constraints.txt")
LIBRARIES = (
    *("numpy", "scipy.signal", "scipy.stats", "sklearn.linear_model", "torch", "torch.optim.swa_utils", "lightning_fabric", "pandas"),
    *(
        "onnx",
        "onnxruntime",
        "tvm",
        "h5py",
        "pynwb",
        "pydantic",
        "click",
        "rich",
        "jinja2",
        "pint",
        "matplotlib.figure",
        "hypothesis",
        "pytest",
    ),
)
MOST_S = 300.0  # of one call


@dataclass(frozen=True)
class Outcome:
    """Of a call: node ids of the tests that failed themselves, of what broke around them, and the first line of the first complaint."""

    status: int  # pytest's; negative: the signal that ended the child
    passed: int
    failed: tuple[str, ...]
    broken: tuple[str, ...]
    said: str


@dataclass(frozen=True)
class Runner:
    """The process that forks, in a copy that may be changed between calls."""

    copy: Path
    process: "subprocess.Popen[str]"

    def __call__(self, tests: Sequence[str]) -> Outcome:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(tests) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        return Outcome(answer["status"], answer["passed"], tuple(answer["failed"]), tuple(answer["broken"]), answer["said"])


@contextmanager
def running(root: Path, folder: Path) -> Iterator[Runner]:
    """Copy the project from ``root`` into ``folder``, start the process there, and end it."""
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    # Bytecode is told from its source by size and second: a bug of the same size could be overlooked.
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", str(Path(__file__))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder) as process:
        try:
            yield Runner(folder, process)
        finally:
            process.kill()


class _Heard:
    """A plugin of pytest that keeps what is asked for."""

    def __init__(self) -> None:
        self.passed, self.failed, self.broken, self.said = 0, list[str](), list[str](), ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and report.passed:
            self.passed += 1
        if report.failed:
            (self.failed if report.when == "call" else self.broken).append(report.nodeid)
            self._keep(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.broken.append(report.nodeid)
            self._keep(report)

    def _keep(self, report: Any) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        self.said = self.said or next(iter(str(crash.message if crash else report.longrepr).splitlines()), "")


def _answer(tests: Sequence[str], pipe: int) -> None:
    """In the child."""
    import pytest

    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    heard, status = _Heard(), 3
    try:
        plain = ["-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib", "--hypothesis-seed=0", "--tb=short"]
        status = int(pytest.main([*plain, *tests], plugins=[heard]))
    finally:
        content = {"status": status, "passed": heard.passed, "failed": heard.failed, "broken": heard.broken, "said": heard.said}
        with os.fdopen(pipe, "w") as file:
            file.write(json.dumps(content))
        os._exit(0)  # libraries wait at exit for threads of theirs that the fork left behind


def _forked(tests: Sequence[str]) -> dict[str, Any]:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        os.setsid()
        _answer(tests, writes)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        ready, _, _ = select.select([pipe], [], [], MOST_S * len(tests))
        if not ready:
            os.killpg(child, signal.SIGKILL)
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    said = f"no answer within {MOST_S:g} s a test" if not ready else "the process ended"
    nothing = {"status": os.waitstatus_to_exitcode(status), "passed": 0, "failed": [], "broken": list(tests), "said": said}
    return json.loads(text) if text else nothing


def _serve() -> None:
    for library in LIBRARIES:
        import_module(library)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
