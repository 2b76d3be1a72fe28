"""The example drives the int8 files without importing this project, and gets the same numbers."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np

from export.stepgraph import metadata, save_model
from quantization.golden import run_decoder, run_frontend

EXAMPLE = Path(__file__).parents[2] / "examples" / "drive_int8.py"


def test_imports_nothing_of_this_project():
    imported = {alias.name for node in ast.walk(ast.parse(EXAMPLE.read_text())) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"json", "sys", "numpy", "onnxruntime"}
    assert not [node for node in ast.walk(ast.parse(EXAMPLE.read_text())) if isinstance(node, ast.ImportFrom)]


def test_decodes_like_the_golden_vectors(chain, tmp_path):
    save_model(chain.frontend_int8, tmp_path / "frontend.int8.onnx")
    save_model(chain.decoder_int8, tmp_path / "decoder.int8.onnx")
    samples = chain.samples[:2000]
    np.save(tmp_path / "samples.npy", samples)
    command = [sys.executable, "-I", str(EXAMPLE), str(tmp_path), str(tmp_path / "samples.npy")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    features, _ = run_frontend(chain.frontend_int8, samples)
    decoded, _ = run_decoder(chain.decoder_int8, features)
    io = metadata(chain.decoder_int8)["io"]["decoded"]
    expected = decoded * np.array(io["scale"]) + np.array(io["offset"])
    np.testing.assert_allclose(np.loadtxt(printed.splitlines(), delimiter=","), expected, rtol=1e-12)
