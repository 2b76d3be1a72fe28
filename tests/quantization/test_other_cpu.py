"""The int8 files give the same bits on a CPU without VNNI, where onnxruntime takes other matrix kernels."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.stepgraph import save_model

SCRIPT = Path(__file__).with_name("drive_and_hash.py")
HASWELL = ("qemu-x86_64", "-cpu", "Haswell")  # AVX2, no VNNI


def digest(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="emulates an x86-64 CPU with this interpreter")
@pytest.mark.skipif(shutil.which(HASWELL[0]) is None, reason="qemu-x86_64 is not installed: apt-get install qemu-user")
@pytest.mark.slow
def test_same_bits_without_vnni(int8_graph, tmp_path):
    model, rows = int8_graph
    save_model(model, tmp_path / "model.onnx")
    np.save(tmp_path / "rows.npy", rows)
    arguments = (sys.executable, str(SCRIPT), str(tmp_path / "model.onnx"), str(tmp_path / "rows.npy"))
    here = digest(*arguments)
    assert len(here) == 64
    assert digest(*HASWELL, *arguments) == here
