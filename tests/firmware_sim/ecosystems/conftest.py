"""A small bundle for each machine, and what the reference decodes of what the samples decode."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from export.stepgraph import save_model
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.ecosystems.project import write_project
from quantization.reference import ReferenceStepper
from tests.firmware_sim.compiled_graphs import TICKS, decoder, gru_decoder, lfp_frontend
from tests.firmware_sim.ecosystems.projects import BINS, samples

WARM_UP = 4  # bins


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, settling = tmp_path_factory.mktemp("graphs"), decoder()
    settling.metadata_props.add(key="warm_up_bins", value=str(WARM_UP))
    save_model(lfp_frontend(), folder / "frontend.onnx")
    save_model(settling, folder / "decoder.onnx")
    return folder


@pytest.fixture(scope="session")
def bundle(graphs: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Of a build, made when it is asked for."""

    @cache
    def made(build: str) -> Path:
        folder = tmp_path_factory.mktemp("bundles") / build
        write_bundle(folder, "lfp", build, graphs / "frontend.onnx", graphs / "decoder.onnx")
        return folder

    return made


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """As ``bundle``, of a model that is compiled in a second: without a front end."""

    @cache
    def made(build: str) -> Path:
        folder = tmp_path_factory.mktemp("small")
        save_model(gru_decoder(), folder / "decoder.onnx")
        write_bundle(folder / build, "lfp", build, None, folder / "decoder.onnx")
        return folder / build

    return made


@pytest.fixture
def small_project(small: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str], Path]:
    """Of a build, for an ecosystem."""

    def made(build: str, ecosystem: str) -> Path:
        write_project(small(build), ecosystem, tmp_path / "project")
        return tmp_path / "project"

    return made


@pytest.fixture
def project(bundle: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str], Path]:
    """Of a build, for an ecosystem."""

    def made(build: str, ecosystem: str) -> Path:
        write_project(bundle(build), ecosystem, tmp_path / "project")
        return tmp_path / "project"

    return made


@pytest.fixture(scope="session")
def decoded(graphs: Path) -> NDArray[np.int16]:
    """What the reference decodes of :func:`samples`, (bins, outputs)."""
    front, back = (ReferenceStepper(onnx.load(graphs / f"{name}.onnx")) for name in ("frontend", "decoder"))
    rows = [front.step({"sample": sample})["features"] for sample in samples()]
    return np.array([back.step({"features": row})["decoded"] for row in rows[TICKS - 1 :: TICKS]])


@pytest.fixture(scope="session")
def printed(decoded: NDArray[np.int16]) -> list[str]:
    """What a sample prints."""
    assert len({row.tobytes() for row in decoded}) > BINS / 2  # alive
    return [" ".join(map(str, ("valid" if b >= WARM_UP else "warming up", *row))) for b, row in enumerate(decoded)]
