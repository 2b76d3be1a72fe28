"""The chunked forward, the step loop and a literal reading of the recurrence are one function."""

import pytest
import torch
from torch.nn import functional as F

from realm_edge.models.mamba2 import A_RANGE, BLOCK, CHUNK, DT_RANGE, Mamba2, Mamba2State, scan, ssd_scan
from realm_edge.settings import ModelSettings

SHAPES = [
    ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=4),
    ModelSettings(d_model=32, n_layer=1, d_state=16, headdim=16),
    ModelSettings(d_model=12, n_layer=1, d_state=5, headdim=6, expand=1, d_conv=3),
    ModelSettings(d_model=64, n_layer=1, d_state=16, headdim=32),
]


def mixer(settings, dtype=torch.float32):
    torch.manual_seed(0)
    return Mamba2(settings).to(dtype)


def stepped(model, u, state):
    outputs = []
    for index in range(u.shape[1]):
        y, state = model.step(u[:, index], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


@torch.no_grad()
@pytest.mark.parametrize("settings", SHAPES, ids=lambda s: f"d{s.d_model}n{s.d_state}p{s.headdim}")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("bins", [1, 3, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, BLOCK + 5])
def test_forward_equals_the_step_loop(settings, dtype, tolerance, bins):
    model = mixer(settings, dtype)
    u = 3 * torch.randn(2, bins, settings.d_model, dtype=dtype)
    whole, after = model(u)
    looped, after_loop = stepped(model, u, Mamba2State.alloc(settings, 2, u))
    for got, expected in ((whole, looped), (after.ssm, after_loop.ssm), (after.conv, after_loop.conv)):
        assert (got - expected).abs().max() <= tolerance * expected.abs().max()


@torch.no_grad()
def test_large_step_sizes_and_a_long_sequence_keep_their_digits():
    settings = SHAPES[1]
    model = mixer(settings)
    model.dt_bias.add_(8.0)  # decays far below float32's smallest number inside one chunk
    model.A_log[0] = -9.0  # and one head that hardly forgets
    u = torch.randn(1, 2000, settings.d_model)
    whole, after = model(u)
    exact, after_exact = stepped(model.double(), u.double(), Mamba2State.alloc(settings, 1, u.double()))
    assert (whole - exact).abs().max() <= 1e-5 * exact.abs().max()
    assert (after.ssm - after_exact.ssm).abs().max() <= 1e-5 * after_exact.ssm.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("cut", [1, 2, 40, 99])
def test_the_state_carries_over_between_forwards(cut):
    model = mixer(SHAPES[1], torch.float64)
    u = torch.randn(3, 100, 32, dtype=torch.float64)
    whole, after = model(u)
    first, state = model(u[:, :cut])
    second, state = model(u[:, cut:], state)
    torch.testing.assert_close(torch.cat((first, second), dim=1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.ssm, after.ssm, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.conv, after.conv, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_scan_is_the_recurrence_and_so_is_its_gradient(chunk):
    torch.manual_seed(1)
    x, b, c = (torch.randn(2, 19, *shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (5,), (5,)))
    dt = torch.rand(2, 19, 3, dtype=torch.float64, requires_grad=True)
    a = -torch.rand(3, dtype=torch.float64).mul(16).requires_grad_()
    h0 = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    leaves = (x, dt, a, b, c, h0)

    h, ys = h0, []
    for t in range(19):
        h = torch.exp(dt[:, t] * a)[:, :, None, None] * h + torch.einsum("bh,bhp,bn->bhpn", dt[:, t], x[:, t], b[:, t])
        ys.append(torch.einsum("bhpn,bn->bhp", h, c[:, t]))
    expected = torch.stack(ys, dim=1)
    y, last = ssd_scan(*leaves, chunk=chunk)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(last, h, rtol=1e-10, atol=1e-10)

    weight = torch.randn_like(expected)
    for got, wanted in zip(
        torch.autograd.grad((y * weight).sum() + last.sum(), leaves),
        torch.autograd.grad((expected * weight).sum() + h.sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_mixed_precision_keeps_the_scan_in_float32():
    torch.manual_seed(0)
    x, b, c = (torch.randn(2, 300, *shape).bfloat16() for shape in ((4, 8), (16,), (16,)))
    dt, a, h = 0.1 * torch.rand(2, 300, 4), -torch.rand(4), torch.randn(2, 4, 8, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, last = scan(x, dt, a, b, c, h)
    expected = ssd_scan(x.float(), dt, a, b.float(), c.float(), h)
    assert y.dtype == last.dtype == torch.float32
    assert torch.equal(y, expected[0]) and torch.equal(last, expected[1])

    model = mixer(SHAPES[1])
    u = torch.randn(2, 300, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, after = model(u)
    exact, after_exact = model(u)
    assert mixed.dtype == torch.bfloat16 and after.ssm.dtype == torch.float32
    assert (mixed - exact).abs().max() <= 0.02 * exact.abs().max()
    assert (after.ssm - after_exact.ssm).abs().max() <= 0.02 * after_exact.ssm.abs().max()


@torch.no_grad()
def test_step_is_the_published_block_written_out():
    """Input order z, x, B, C, dt; convolution over x, B and C; gate before the norm (state-spaces/mamba, mamba2.py)."""
    settings = SHAPES[1]
    model = mixer(settings, torch.float64)
    w = model.state_dict()
    u = torch.randn(1, 32, dtype=torch.float64)
    state = Mamba2State(torch.randn(1, 96, 4, dtype=torch.float64), torch.randn(1, 4, 16, 16, dtype=torch.float64))
    got, after = model.step(u, state)

    projected = w["in_proj.weight"] @ u[0]
    z, xbc, dt = projected[:64], projected[64:160], projected[160:]
    window = torch.cat((state.conv[0, :, 1:], xbc[:, None]), dim=1)
    xbc = F.silu((window * w["conv1d.weight"][:, 0]).sum(1) + w["conv1d.bias"])
    x, b, c = xbc[:64].view(4, 16), xbc[64:80], xbc[80:]
    dt = torch.log1p(torch.exp(dt + w["dt_bias"]))
    h = torch.exp(-dt * torch.exp(w["A_log"])).view(4, 1, 1) * state.ssm[0] + torch.einsum("h,hp,n->hpn", dt, x, b)
    y = (torch.einsum("hpn,n->hp", h, c) + w["D"][:, None] * x).flatten() * F.silu(z)
    y = y / torch.sqrt(y.square().mean() + 1e-5) * w["norm.weight"]
    torch.testing.assert_close(got[0], w["out_proj.weight"] @ y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after.ssm[0], h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after.conv[0], window, rtol=0, atol=0)


def test_names_and_shapes_are_those_of_mamba_ssm():
    s = ModelSettings(d_model=32, n_layer=1, d_state=16, headdim=16)
    shapes = {name: tuple(tensor.shape) for name, tensor in mixer(s).state_dict().items()}
    assert shapes == {
        "in_proj.weight": (2 * 64 + 2 * 16 + 4, 32),
        "conv1d.weight": (64 + 2 * 16, 1, 4),
        "conv1d.bias": (64 + 2 * 16,),
        "dt_bias": (4,),
        "A_log": (4,),
        "D": (4,),
        "norm.weight": (64,),
        "out_proj.weight": (32, 64),
    }


@torch.no_grad()
def test_initial_values_are_those_of_mamba_ssm():
    model = mixer(ModelSettings(d_model=512, n_layer=1, d_state=4, headdim=4))  # 256 heads
    a, dt = model.A_log.exp(), F.softplus(model.dt_bias)
    assert A_RANGE[0] <= a.min() < 1.5 and 15.5 < a.max() <= A_RANGE[1]
    assert DT_RANGE[0] * 0.999 <= dt.min() < 2e-3 and 0.05 < dt.max() <= DT_RANGE[1] * 1.001
    assert 0.007 < dt.median() < 0.014  # log-uniform: the geometric mean of the range is 0.01
    assert (model.D == 1).all() and (model.norm.weight == 1).all()


@torch.no_grad()
def test_no_output_depends_on_a_later_input():
    model = mixer(SHAPES[1])
    u = torch.randn(1, 80, 32)
    changed = u.clone()
    changed[:, 50:] = torch.randn(1, 30, 32)
    before, after = model(u)[0], model(changed)[0]
    torch.testing.assert_close(after[:, :50], before[:, :50], rtol=0, atol=0)
    assert (after[:, 50:] - before[:, 50:]).abs().max() > 0.01
