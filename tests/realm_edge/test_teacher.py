"""The teacher sees both ways, and masked bins hide their content and nothing else."""

import pytest
import torch

from realm_edge.models.teacher import DropPath, Teacher
from realm_edge.settings import ModelSettings, PretrainSettings
from realm_edge.training.pretrain import augment, mask_blocks

SETTINGS = ModelSettings(d_model=16, n_layer=2, d_state=8, headdim=8)
TOKENIZERS = pytest.mark.parametrize("tokenizer", ["linear", "channel"])


def teacher(tokenizer="linear"):
    torch.manual_seed(0)
    return Teacher(SETTINGS.model_copy(update={"tokenizer": tokenizer}), [6, 8], kinds=2).double().eval()


@torch.no_grad()
@TOKENIZERS
def test_every_bin_sees_the_past_and_the_future(tokenizer):
    model = teacher(tokenizer)
    x = torch.randn(1, 50, 6, dtype=torch.float64)
    changed = x.clone()
    changed[0, 25] += 1.0
    moved = (model(changed) - model(x)).abs().amax(dim=-1)[0]
    assert (moved > 1e-9).all()


@torch.no_grad()
@TOKENIZERS
def test_masked_bins_hide_their_content(tokenizer):
    model = teacher(tokenizer)
    x = torch.randn(2, 50, 6, dtype=torch.float64)
    masked = torch.zeros(2, 50, dtype=torch.bool)
    masked[:, 10:20] = True
    changed = x.clone()
    changed[:, 10:20] = 5.0
    torch.testing.assert_close(model.reconstruct(changed, masked), model.reconstruct(x, masked), rtol=0, atol=0)
    assert (model.reconstruct(x, masked) - model.reconstruct(x, torch.zeros_like(masked))).abs().max() > 1e-3
    assert model.reconstruct(x, masked).shape == x.shape


@torch.no_grad()
def test_a_flipped_sequence_swaps_the_roles_of_the_two_mixers():
    model = teacher()
    block = model.blocks[0]
    x = torch.randn(1, 40, 16, dtype=torch.float64)
    expected = block(x)
    block.forward_mixer, block.backward_mixer = block.backward_mixer, block.forward_mixer
    block.merge.weight.copy_(block.merge.weight.roll(16, dims=1))
    torch.testing.assert_close(block(x.flip(1)).flip(1), expected, rtol=0, atol=1e-12)


def test_masks_are_blocks_of_the_wanted_share():
    settings = PretrainSettings(epochs=1, lr=1e-3, masked_fraction=0.6, block_bins=(5, 25))
    torch.manual_seed(0)
    masked = mask_blocks(torch.full((200,), 250), 250, settings)
    share = masked.double().mean(dim=1)
    assert share.min() >= 0.6 and share.max() < 0.6 + 25 / 250
    at_edges = masked[:, [0, -1]].double().mean()
    assert 0.4 < at_edges < 0.75  # the edges are masked about as often as the middle
    starts = (masked[:, 1:] & ~masked[:, :-1]).sum(dim=1)
    assert starts.max() <= 0.6 * 250 / 5  # blocks, not scattered bins


def test_a_short_window_keeps_something_to_see():
    settings = PretrainSettings(epochs=1, lr=1e-3, masked_fraction=0.9, block_bins=(5, 25))
    torch.manual_seed(0)
    assert not mask_blocks(torch.full((50,), 30), 30, settings).all(dim=1).any()


def test_augmentation_drops_all_features_of_a_channel_together():
    settings = PretrainSettings(epochs=1, lr=1e-3, channel_dropout=0.5, noise_sd=0.0)
    torch.manual_seed(0)
    x = torch.ones(64, 10, 4 * 3)
    kept = augment(x, 4, settings).reshape(64, 10, 3, 4) != 0  # feature-major: kind, then channel
    assert (kept == kept[:, :1, :1]).all()
    assert 0.3 < kept.double().mean() < 0.7
    gains = augment(x, 4, settings).amax(dim=(1, 2))
    assert ((gains == 0) | ((gains >= 0.85) & (gains <= 1.15))).all()
    assert (augment(torch.ones(64, 10, 3), 1, settings) != 0).all()  # the only channel stays


@torch.no_grad()
@TOKENIZERS
def test_arrays_of_other_sizes_share_all_but_their_own_layers(tokenizer):
    model = teacher(tokenizer)
    masked = torch.zeros(2, 30, dtype=torch.bool)
    wide, narrow = torch.randn(2, 30, 8, dtype=torch.float64), torch.randn(2, 30, 6, dtype=torch.float64)
    assert model.reconstruct(wide, masked).shape == wide.shape and model(wide).shape == model(narrow).shape
    seen = model(narrow)
    model.tokenizers["8"].weight.zero_()
    assert torch.equal(model(narrow), seen)
    assert not {"6", "8"} ^ {name.split(".")[1] for name in model.state_dict() if name.startswith(("tokenizers.", "reconstructions."))}


def test_stochastic_depth_leaves_out_whole_windows_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 3, 2)
    out = drop(x)
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert (out == out[:, :1, :1]).all() and float(out.mean()) == pytest.approx(1.0, abs=0.03)
    assert drop.eval()(x) is x


def test_later_blocks_are_skipped_more_often_and_the_predictor_never():
    model = Teacher(SETTINGS.model_copy(update={"n_layer": 5}), [6], drop_path=0.2)
    assert [block.drop_path.p for block in model.blocks] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert model.predictor[0].drop_path.p == 0.0
    x = torch.randn(1, 12, 16)
    block = model.blocks[4].train()
    block.drop_path.p = 1.0 - 1e-9
    assert torch.equal(block(x), x)  # what a block adds, not what it is given
