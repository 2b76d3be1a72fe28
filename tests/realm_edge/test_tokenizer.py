"""The channel tokenizer: sequence and step agree over any length, its weights know no channel, and its mean forgets."""

import pytest
import torch
from torch.nn import functional as F

from realm_edge.models.tokenizer import CHUNK, LEAK_BITS, MAPS, CausalMaps, CentredMaps, leaky_mean, token_inputs
from realm_edge.settings import ModelSettings

KINDS = 2


def made(kind=CausalMaps, dtype=torch.float64):
    torch.manual_seed(0)
    return kind(KINDS).to(dtype)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 4, 9])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_forward_equals_the_step_loop(channels, dtype, tolerance):
    maps, bins = made(dtype=dtype), CHUNK + 30
    x = torch.randn(3, bins, KINDS * channels, dtype=dtype)
    state, looped = maps.initial_state(3, KINDS * channels, x), []
    for index in range(bins):
        out, state = maps.step(x[:, index], state)
        looped.append(out)
    expected = torch.stack(looped, dim=1)
    whole, after = maps(x, maps.initial_state(3, KINDS * channels, x))
    assert whole.shape == (3, bins, MAPS * channels)
    assert (whole - expected).abs().max() <= tolerance * expected.abs().max()
    for got, wanted in zip(after, state, strict=True):
        assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()
    first, between = maps(x[:, :17], maps.initial_state(3, KINDS * channels, x))
    second, _ = maps(x[:, 17:], between)
    assert (torch.cat((first, second), dim=1) - expected).abs().max() <= tolerance * expected.abs().max()


@torch.no_grad()
def test_maps_by_hand():
    """One bin of one channel, written out: taps on [0, 0, x], GELU, a gate from 1/64 of the mean."""
    maps = made()
    x = torch.randn(1, 1, KINDS, dtype=torch.float64)
    got, _ = maps(x, maps.initial_state(1, KINDS, x))
    own = F.gelu(maps.conv.weight[:, :, -1] @ x[0, 0] + maps.conv.bias)
    gate = torch.sigmoid(maps.attention.weight[0, 0, 2] * own.mean() / 2**LEAK_BITS)
    torch.testing.assert_close(got[0, 0], own * gate, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("kind", [CausalMaps, CentredMaps])
def test_every_channel_has_the_same_weights(kind):
    """Channels in another order, far apart so that attention's neighbours stay zero, give the same maps in that order."""
    maps = made(kind)
    x = torch.zeros(1, 40, KINDS, 20, dtype=torch.float64)
    x[..., 4], x[..., 15] = torch.randn(2, 1, 40, KINDS, dtype=torch.float64)
    swapped = x.clone()
    swapped[..., 4], swapped[..., 15] = x[..., 15], x[..., 4]

    def run(values):
        flat = values.flatten(2)
        out = maps(flat) if kind is CentredMaps else maps(flat, maps.initial_state(1, KINDS * 20, flat))[0]
        return out.unflatten(-1, (20, MAPS))

    torch.testing.assert_close(run(swapped)[:, :, 4], run(x)[:, :, 15], rtol=0, atol=1e-12)
    assert (run(x)[:, :, 4] - run(x)[:, :, 15]).abs().max() > 0.01


@torch.no_grad()
def test_the_teacher_sees_both_neighbours_and_the_whole_window():
    maps = made(CentredMaps)
    x = torch.randn(1, 50, KINDS * 3, dtype=torch.float64)
    changed = x.clone()
    changed[0, 25] += 1.0
    moved = (maps(changed) - maps(x)).abs().amax(dim=-1)[0]
    assert (moved > 0).all()  # by attention
    assert moved[24:27].min() > 10 * torch.cat((moved[:24], moved[27:])).max()


def test_the_leaky_mean_forgets_and_carries_gradients():
    x = torch.randn(1, 3 * CHUNK, 2, dtype=torch.float64, requires_grad=True)
    start = torch.full((1, 2), 1e6, dtype=torch.float64)
    settled = leaky_mean(x, start)[0, -1]
    torch.testing.assert_close(settled, leaky_mean(x, 0 * start)[0, -1], rtol=0, atol=1e6 * (1 - 2.0**-LEAK_BITS) ** (3 * CHUNK) * 1.001)
    settled.sum().backward()
    assert x.grad[0, -1, 0] == pytest.approx(2.0**-LEAK_BITS) and x.grad[0, 0, 0] > 0


def test_inputs_that_are_no_whole_channels_are_refused():
    settings = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=4, tokenizer="channel")
    assert token_inputs(settings, 12, 3) == 4 * MAPS
    with pytest.raises(ValueError, match="7 features are not 2 of each channel"):
        token_inputs(settings, 7, 2)
