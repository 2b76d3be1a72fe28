"""Commands with several processes that are ended at random moments: the workers of ``evaluate``, and training under torchrun."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.small_run import content, half_written, write_inputs

pytestmark = pytest.mark.slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ROOT = Path(__file__).parents[1]


def started(words: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", *words], env=environment, stdout=log, stderr=log, start_new_session=True)


def done(words: list[str], folder: Path) -> float:
    """Perform a command; the seconds that it took."""
    start = time.monotonic()
    assert started(words, folder).wait(300) == 0, (folder / "log").read_text()
    return time.monotonic() - start


def ended(
    words: list[str], folder: Path, number: signal.Signals, begun: Callable[[], bool], seconds: float, everyone: bool = False
) -> bool:
    """Begin a command and send it a signal so long after it began to work; whether it was still running. All its processes end.

    Args:
        everyone: the signal goes to all its processes, as where the machine is switched off.
    """
    process = started(words, folder)
    limit = time.monotonic() + 120
    while process.poll() is None and not begun():
        assert time.monotonic() < limit, (folder / "log").read_text()
        time.sleep(0.01)
    time.sleep(seconds)
    running = process.poll() is None
    for pid in {process.pid, *(working(folder) if everyone else ())}:
        os.kill(pid, number)
    process.wait(60)
    while working(folder):
        assert time.monotonic() < limit, working(folder)
        time.sleep(0.1)
    return running


def working(folder: Path) -> list[int]:
    """The processes of a command that :func:`started`, by the cache in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and f"XDG_CACHE_HOME={folder}/cache".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has just ended, or is somebody else's
    return found


def without_seconds(value: Any) -> Any:
    """A result but for what is measured by the clock."""
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if "seconds" not in key and key not in ("digest", "command")}
    return value


def results(out: Path) -> dict[str, Any]:
    return {path.name: without_seconds(json.loads(path.read_text())) for path in (out / "results").glob("*.json")}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def evaluated(inputs: Path) -> dict[str, Any]:
    done(evaluation(inputs, inputs / "out"), inputs)
    return results(inputs / "out")


def evaluation(inputs: Path, out: Path) -> list[str]:
    given = ["--data", str(inputs / "monday.npz"), "--config", str(inputs / "tiny.toml"), "--out", str(out)]
    return ["realm_edge", "evaluate", *given, "--seeds", "2", "--decoders", "student,scratch,gru", "--workers", "2"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_evaluation_that_is_ended_goes_on_to_the_same_results(
    inputs: Path, evaluated: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    assert len(evaluated) == 6
    words = evaluation(inputs, tmp_path / "out")
    seconds = random.Random(int(number)).uniform(0, 2)
    assert ended(words, tmp_path, number, lambda: any((tmp_path / "out").rglob("*.lock")), seconds)
    if number != signal.SIGKILL:
        assert half_written(tmp_path) == []
    done(words, tmp_path)
    assert results(tmp_path / "out") == evaluated and half_written(tmp_path) == []


@pytest.fixture(scope="module")
def prepared_run(inputs: Path) -> Path:
    out = inputs / "run"
    done(
        ["realm_edge", "data", "--data", str(inputs / "monday.npz"), "--config", str(inputs / "tiny.toml"), "--out", str(out)],
        inputs,
    )
    return out


@pytest.fixture(scope="module")
def trained(prepared_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(prepared_run, folder / "run")
    done(training(folder / "run"), folder)
    return content(folder / "run")


def training(run: Path) -> list[str]:
    return ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "realm_edge", "train", "--out", str(run)]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_training_by_two_processes_that_is_ended_goes_on_to_the_same_bytes(
    prepared_run: Path, trained: dict[str, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    shutil.copytree(prepared_run, tmp_path / "run")
    partial, seconds = tmp_path / "run" / "train.partial", random.Random(int(number)).uniform(0, 1)
    assert ended(
        training(tmp_path / "run"), tmp_path, number, lambda: any(partial.glob("*.safetensors")), seconds, number == signal.SIGKILL
    )
    assert partial.exists()
    done(training(tmp_path / "run"), tmp_path)
    assert content(tmp_path / "run") == trained and half_written(tmp_path) == []
