"""The scan against mamba-ssm's Triton kernels, forward and backward: opt-in, ``./start test -m oracle -rP``.

The kernels run on the CPU, in Triton's interpreter, which computes with numpy what they say. It shows that the call is right (order and
meaning of its arguments, initial and last state, gradients); nothing about speed, or about what a GPU's tensor cores round.
"""

import os
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from realm_edge.models.mamba2 import KERNEL_CHUNK, scan

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(3600)]  # the first time installs PyTorch again

TOLERANCE = 1e-5  # of the largest value


@pytest.mark.parametrize(("batch", "bins", "heads", "headdim", "d_state"), [(2, 70, 4, 16, 16), (1, KERNEL_CHUNK + 44, 3, 12, 8)])
def test_the_kernels_and_the_plain_scan_are_one_function(
    python: Path, tmp_path: Path, batch: int, bins: int, heads: int, headdim: int, d_state: int
) -> None:
    torch.manual_seed(0)
    tensors = {
        "x": torch.randn(batch, bins, heads, headdim),
        "dt": 0.2 * torch.rand(batch, bins, heads),
        "a": -3.0 * torch.rand(heads),
        "b": torch.randn(batch, bins, d_state),
        "c": torch.randn(batch, bins, d_state),
        "h": torch.randn(batch, heads, headdim, d_state),
    }
    wy, wh = torch.randn(batch, bins, heads, headdim), torch.randn(batch, heads, headdim, d_state)
    safetensors.torch.save_file(tensors | {"wy": wy, "wh": wh}, tmp_path / "case")
    peer = Path(__file__).with_name("triton_scan_peer.py")
    command = [str(python), str(peer), str(tmp_path / "case"), str(tmp_path / "result"), str(KERNEL_CHUNK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TRITON_INTERPRET": "1"})
    assert done.returncode == 0, done.stderr
    theirs = safetensors.torch.load_file(tmp_path / "result")

    leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    y, last = scan(**leaves)
    ((y * wy).sum() + (last * wh).sum()).backward()
    ours = {"y": y.detach(), "last": last.detach()} | {f"grad/{name}": tensor.grad for name, tensor in leaves.items()}
    assert ours.keys() == theirs.keys()
    worst = {name: float((tensor - theirs[name]).abs().max() / tensor.abs().max()) for name, tensor in ours.items()}
    print(", ".join(f"{name} {error:.1e}" for name, error in worst.items()), "of the largest value")
    assert max(worst.values()) <= TOLERANCE
