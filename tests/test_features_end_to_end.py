"""Recordings of features through the whole pipeline: they enter at the decoder, and every stage says so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from export.stepgraph import load_model, metadata
from firmware_sim.targets import targets
from quantization.golden import Golden
from realm_edge.app.cli import main
from tests.feature_file import feature_file
from tests.real_recordings import recording as real_recording

pytestmark = pytest.mark.slow

TARGETS = ("cortex-m4", "rv32imc")

TINY = "d_model = 16\nn_layer = 1\nd_state = 8\nheaddim = 8\n"
CONFIG = f"[teacher]\n{TINY}[student]\n{TINY}" + "".join(
    f"[{phase}]\nepochs = {epochs}\nlr = 1e-2\n" for phase, epochs in (("pretrain", 1), ("distil", 10), ("finetune", 10))
)
BUDGET = "".join(f'[{name}]\nlimit = 1e6\nsource = "test"\n' for name in ("power_uw", "latency_ms", "bandwidth_bps"))


def _run(folder: Path, *arguments: str) -> Path:
    for emulator in {target.machine.emulator for target in targets().values()}:
        if shutil.which(emulator) is None:
            pytest.skip(f"{emulator} is not installed: apt-get install qemu-system-arm qemu-system-misc")
    (folder / "tiny.toml").write_text(CONFIG)
    (folder / "wide.toml").write_text(BUDGET)
    out = folder / "run"
    given = ["run", "--config", str(folder / "tiny.toml"), "--budget", str(folder / "wide.toml"), "--out", str(out)]
    asked = [word for target in TARGETS for word in ("--target", target)]
    result = CliRunner().invoke(main, [*given, *asked, *arguments])
    assert result.exit_code == 0, result.stderr
    assert "lfp: front end not included: the recording holds features" in result.stdout
    assert "ok, front end not included" in next(line for line in result.stdout.splitlines() if " power_uw " in line)
    return out


def _summary(out: Path, stage: str) -> dict:
    return json.loads((out / "stages" / f"{stage}.json").read_text())["summary"]


def _check_ladder(out: Path, bins: int) -> None:
    """Every bin of the recording, on every rung."""
    assert _summary(out, "quantize")["lfp"]["reference_ticks_equal"] == bins
    for target in TARGETS:
        stream = _summary(out, f"simulate.{target}")["streams"]["lfp"]
        assert stream["bit_exact"] and stream["steps"] == bins


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    files = [feature_file(folder / f"{name}.nwb", rows=1000) for name in ("monday", "tuesday")]
    recordings = [word for path in files for word in ("--data", str(path))]
    return _run(folder, *recordings, "--features", "power", "--behavior", "force")


def test_every_bin_is_equal_to_the_bit(finished: Path) -> None:
    _check_ladder(finished, 1000)
    golden = Golden.load(finished / "golden" / "lfp.npz")
    assert (golden.first_bin, golden.warm_up, golden.samples) == (0, 800, None) and len(golden.decoded) == 1000


def test_features_are_int16_on_scales_that_a_stranger_finds(finished: Path) -> None:
    assert not list(finished.glob("frontend*.onnx"))
    io = metadata(load_model(finished / "decoder.int8.onnx"))["io"]["features"]
    golden = Golden.load(finished / "golden" / "lfp.npz")
    with np.load(finished / "data" / "tuesday.npz") as session:
        recorded = session["features"]
    np.testing.assert_allclose(golden.features * np.array(io["scale"]), recorded, atol=0.51 * max(io["scale"]))
    scores = _summary(finished, "quantize")["lfp"]
    assert scores["scored_bins"] == 200 and scores["nrmse_frontend"] < 0.001 and scores["nrmse_int8_float"] < 0.05
    assert scores["r2"]["float"] > 0.3 and abs(scores["r2"]["float"] - scores["r2"]["int8"]) < 0.02


def test_costs_are_those_of_the_decoder_alone(finished: Path) -> None:
    for target in TARGETS:
        simulation = json.loads((finished / "simulation" / f"{target}.json").read_text())
        stream = simulation["streams"]["lfp"]
        assert set(simulation["streams"]) == {"lfp"} and stream["frontend"].startswith("not included: the recording holds features")
        power = stream["power_uw"]
        assert power["sensing"] is None and power["total"] > 0 and stream["bandwidth_bps"]["raw"] is None
        assert {row["stage"] for row in stream["kernels"]} == {"decoder"} and stream["latency_ms"]["bin_wait"] == 100.0
        assert [row["name"] for row in stream["budgets"] if row["decoder_only"]] == ["power_uw", "latency_ms"]
        assert not any(figure["name"].startswith("sensing") for figure in stream["components"])


def test_the_report_says_so(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "Front end not included: the recording holds features (series <code>power</code>), not voltage." in page
    assert "within all budgets, also with every figure at its worse end, and the firmware is bit-exact. Front end not included." in page
    facts = json.loads((finished / "report.json").read_text())
    assert facts["provenance"]["stages"][0]["command"].endswith("--behavior force --features power --out .")


def test_classic_decoders_take_features_too(finished: Path) -> None:
    result = CliRunner().invoke(main, ["baselines", "--target", "cortex-m4", "--out", str(finished)])
    assert result.exit_code == 0, result.stderr
    decoders = _summary(finished, "baselines")["streams"]["lfp"]
    assert set(decoders) == {"student", "wiener", "gru"} and decoders["wiener"]["r2_int8"] > 0.7


def test_all_bins_of_the_human_recording(tmp_path: Path) -> None:
    path = real_recording("human_grip_force_features.nwb")
    out = _run(tmp_path, "--data", str(path), "--features", "features", "--behavior", "grip_force")
    _check_ladder(out, 2810)
