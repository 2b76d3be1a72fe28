"""A recording with a pause of 10 s, and with five more in its test part, through every stage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from firmware_sim.targets import get_target
from quantization.golden import Golden
from realm_edge.app.cli import main
from realm_edge.session import load

pytestmark = pytest.mark.slow

TINY = "d_model = 16\nn_layer = 1\nd_state = 8\nheaddim = 8\n"
TARGETS = ("cortex-m4", "rv32imc")
SECONDS, CHANNELS, RATE = 100, 6, 1000
CONFIG = f"window_bins = 50\n[lfp]\nrate_hz = {RATE}\n[teacher]\n{TINY}[student]\n{TINY}" + "".join(
    f"[{phase}]\nepochs = {epochs}\nlr = 1e-2\n" for phase, epochs in (("pretrain", 1), ("distil", 4), ("finetune", 4))
)
PAUSES = {30.0: 10.0, 82.0: 0.5, 84.5: 1.0, 87.0: 0.3, 90.0: 2.0, 94.0: 0.1}  # s of LFP before each: its length in s


def _recording(path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.arange(SECONDS * RATE) / RATE
    for before, length in PAUSES.items():
        times[round(before * RATE) :] += length
    velocity = np.sin(2 * np.pi * 0.4 * times) + 0.5 * np.sin(2 * np.pi * 0.13 * times)
    gamma = np.exp(velocity)[:, None] * np.sin(2 * np.pi * 50 * times[:, None] + rng.uniform(0, 6, CHANNELS))
    lfp = np.rint(150 * gamma + rng.normal(0, 60, (len(times), CHANNELS))).astype(np.int16)
    clock = np.arange(0, times[-1], 0.02)
    behavior = np.sin(2 * np.pi * 0.4 * clock) + 0.5 * np.sin(2 * np.pi * 0.13 * clock)
    np.savez(path, lfp=lfp, lfp_times=times, lfp_scale=1e-7, behavior=behavior, behavior_times=clock)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for emulator in {get_target(name).machine.emulator for name in TARGETS}:
        if shutil.which(emulator) is None:
            pytest.skip(f"{emulator} is not installed: apt-get install qemu-system-arm qemu-system-misc")
    folder = tmp_path_factory.mktemp("pauses")
    _recording(folder / "paused.npz")
    (folder / "tiny.toml").write_text(CONFIG)
    (folder / "wide.toml").write_text('[flash_bytes]\nlimit = 1e6\nsource = "test"\n')
    out = folder / "run"
    given = ["--config", str(folder / "tiny.toml"), "--budget", str(folder / "wide.toml"), "--out", str(out)]
    asked = [word for target in TARGETS for word in ("--target", target)]
    result = CliRunner().invoke(main, ["run", "--data", str(folder / "paused.npz"), *asked, *given])
    assert result.exit_code == 0, result.stderr
    assert "7, of 2.5 to 52 s; filters, lags and decoder states start anew at each" in " ".join(result.stderr.split())
    return out


def test_the_session_is_a_list_of_segments(finished: Path) -> None:
    session = load(finished / "data" / "paused.npz")
    assert session.starts.tolist() == [50 * before for before in (0, 30, 82, 84.5, 87, 90, 94)]
    assert session.bins == 50 * SECONDS - 1 and session.validation_end == 50 * 82  # the split moved to the pause
    assert np.isfinite(session.targets).all()


def test_firmware_is_bit_exact_over_every_reset(finished: Path) -> None:
    golden = Golden.load(finished / "golden" / "lfp.npz")
    resets = golden.first_bin + golden.starts[1:]
    assert [bin_ / 50 for bin_ in resets] == [82, 84.5, 87, 90, 94]
    for target in TARGETS:
        stream = json.loads((finished / "simulation" / f"{target}.json").read_text())["streams"]["lfp"]
        assert stream["bit_exact"] and stream["steps"] == len(golden.decoded) and stream["reset"]["cycles"] > 0


def test_what_is_decoded_over_the_pauses(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    student = metrics["decoders"]["lfp_student"]
    assert metrics["segments"] == 7 and student["r2"] > 0.5
    assert student["bins_with_history"] == student["bins"] - 5 * 49  # of each segment of the test part
    scored = json.loads((finished / "stages" / "quantize.json").read_text())["summary"]["lfp"]
    assert scored["resets"] == 5 and abs(scored["r2"]["int8"] - scored["r2"]["float"]) < 0.01
    assert "where a segment of the recording starts" in (finished / "report.html").read_text()
