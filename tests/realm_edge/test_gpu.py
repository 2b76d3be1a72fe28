"""What needs a GPU: the scan's two implementations on it, and training there."""

import pytest
import torch

from realm_edge.models.mamba2 import Mamba2, mamba_ssm_scan, scan, ssd_scan
from realm_edge.settings import ModelSettings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

TENSOR_FLOAT = 5e-3  # of the largest value: Triton multiplies float32 with the 10-bit mantissa of TF32


@pytest.mark.skipif(mamba_ssm_scan() is None, reason="needs mamba-ssm with its kernels")
def test_the_kernels_of_mamba_ssm_equal_the_plain_scan():
    torch.manual_seed(0)
    shapes = {"x": (2, 700, 4, 32), "dt": (2, 700, 4), "a": (4,), "b": (2, 700, 16), "c": (2, 700, 16), "h": (2, 4, 32, 16)}
    plain = {name: torch.randn(shape, device="cuda") for name, shape in shapes.items()}
    plain |= {"dt": 0.1 * plain["dt"].abs(), "a": -plain["a"].abs()}
    fast = {name: tensor.clone().requires_grad_() for name, tensor in plain.items()}
    plain = {name: tensor.requires_grad_() for name, tensor in plain.items()}
    expected, got = ssd_scan(**plain), scan(**fast)
    for results in (expected, got):
        (results[0].square().sum() + results[1].square().sum()).backward()
    pairs = [*zip(got, expected, strict=True), *((fast[name].grad, plain[name].grad) for name in shapes)]
    for ours, theirs in pairs:
        assert (ours - theirs).abs().max() <= TENSOR_FLOAT * theirs.abs().max()


@torch.no_grad()
def test_the_mixer_on_a_gpu_equals_that_on_the_cpu():
    torch.manual_seed(0)
    model = Mamba2(ModelSettings(d_model=32, n_layer=1, d_state=16, headdim=16))
    u = torch.randn(2, 600, 32)
    expected, state = model(u)
    got, after = model.cuda()(u.cuda())
    assert (got.cpu() - expected).abs().max() <= TENSOR_FLOAT * expected.abs().max()
    assert (after.ssm.cpu() - state.ssm).abs().max() <= TENSOR_FLOAT * state.ssm.abs().max()
