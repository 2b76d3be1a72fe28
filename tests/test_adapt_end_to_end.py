"""A run of a few seconds is adapted to a day of voltage without behaviour, by the command, and the new student is firmware."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from quantization.golden import Golden
from realm_edge.app.adapt import run as adapt_module
from realm_edge.app.cli import main
from tests.small_run import TARGET, arguments, needs_emulator, write_inputs

pytestmark = pytest.mark.slow
SECONDS, CHANNELS, RATE = 90, 3, 500


def invoke(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_day_becomes_firmware(tmp_path, monkeypatch):
    needs_emulator()
    write_inputs(tmp_path)
    settings = tmp_path / "tiny.toml"
    settings.write_text(settings.read_text() + "[split]\ntrain = 0.3\nvalidation = 0.1\n")
    status, _, said = invoke(*arguments(tmp_path, tmp_path / "run"))
    assert status == 0, said
    lfp = np.rint(np.random.default_rng(1).normal(0, 90, (SECONDS * RATE, CHANNELS))).astype(np.int16)
    np.savez(tmp_path / "today.npz", lfp=lfp, lfp_rate=float(RATE), lfp_scale=1e-7)

    found = adapt_module.by_teacher
    monkeypatch.setattr(adapt_module, "by_teacher", lambda *of: tuple(one.model_copy(update={"holds": True}) for one in found(*of)))
    status, printed, said = invoke("adapt", tmp_path / "run", "--data", tmp_path / "today.npz", "--json")
    assert status == 0, said
    out = tmp_path / "run" / "adapted" / "today"
    result = json.loads(printed)
    written = json.loads((out / "adaptation.json").read_text())
    assert written.pop("format") == "realm-edge adaptation/1" and written.pop("made_by") and written == result
    golden, update = Golden.load(out / "golden" / "lfp.npz"), result["updates"][TARGET]
    assert set(result["updates"]) == {TARGET}  # what the run was compiled for
    assert golden.samples is not None and update["steps"] == len(golden.decoded)
    metadata = json.loads((out / "firmware" / TARGET / "lfp" / "metadata.json").read_text())
    assert 0 < update["changed_constant_bytes"] <= update["constant_bytes"] == metadata["decoder"]["weight_bytes"]
    assert 0 <= update["changed_code_bytes"] < update["code_bytes"]
    assert result["nrmse_int8_float"] < 0.2
    files = ("student.safetensors", "decoder.onnx", "decoder.int8.onnx", "adaptation.md")
    assert all((out / name).is_file() for name in files)
    assert f"| {TARGET} | {update['steps']:,} of {update['steps']:,} |" in (out / "adaptation.md").read_text()
