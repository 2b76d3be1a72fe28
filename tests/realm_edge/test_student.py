"""The student: sequence and step agree, the state dict is the one the exporter reads, decoding is causal and streams."""

import pytest
import torch

from realm_edge.models.student import CLIP, Student, decode
from realm_edge.settings import ModelSettings

SETTINGS = ModelSettings(d_model=16, n_layer=2, d_state=8, headdim=8)
TOKENIZERS = pytest.mark.parametrize("tokenizer", ["linear", "channel"])


def student(dtype=torch.float32, n_features=6, dropout=0.0, tokenizer="linear"):
    torch.manual_seed(0)
    settings = SETTINGS.model_copy(update={"tokenizer": tokenizer})
    model = Student(settings, n_features, dims=2, dropout=dropout, kinds=2).to(dtype).eval()
    model.feature_mean.copy_(torch.randn(n_features))
    model.feature_inv_std.copy_(torch.rand(n_features) + 0.5)
    model.target_mean.copy_(torch.tensor([3.0, -1.0]))
    model.target_std.copy_(torch.tensor([10.0, 0.5]))
    return model


@torch.no_grad()
@TOKENIZERS
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_forward_equals_the_step_loop(dtype, tolerance, tokenizer):
    model = student(dtype, tokenizer=tokenizer)
    features = 2 * torch.randn(3, 75, 6, dtype=dtype)
    state = model.initial_state(3)
    looped = []
    for index in range(75):
        out, state = model.step(features[:, index], state)
        looped.append(out)
    expected = torch.stack(looped, dim=1)
    assert (model(features) - expected).abs().max() <= tolerance * expected.abs().max()


def test_state_dict_holds_what_the_exporter_reads():
    names = set(student().state_dict())
    outside = {name for name in names if ".mixer." not in name}
    assert outside == {
        *("feature_mean", "feature_inv_std", "target_mean", "target_std"),
        *("tokenizer.weight", "tokenizer.bias", "token_norm.weight", "token_norm.bias"),
        *(f"blocks.{i}.norm.{what}" for i in (0, 1) for what in ("weight", "bias")),
        *("final_norm.weight", "final_norm.bias", "head.weight", "head.bias"),
    }
    assert {name.split(".mixer.")[1] for name in names - outside} == {
        *("in_proj.weight", "conv1d.weight", "conv1d.bias", "dt_bias", "A_log", "D", "norm.weight", "out_proj.weight"),
    }


@torch.no_grad()
def test_features_are_clipped_and_dead_ones_ignored():
    model = student()
    model.feature_inv_std[2] = 0.0
    features = torch.randn(1, 6)
    far = features.clone()
    far[0, 2] = 1e9  # dead
    torch.testing.assert_close(model.normalise(far), model.normalise(features))
    far[0, 0], far[0, 1] = 1e6, -1e6
    assert model.normalise(far)[0, 0] == CLIP and model.normalise(far)[0, 1] == -CLIP


@TOKENIZERS
def test_decode_streams_whole_sessions_in_target_units(tokenizer):
    model = student(torch.float64, tokenizer=tokenizer)
    features = torch.randn(100, 6, dtype=torch.float64)
    with torch.no_grad():
        expected = model(features[None])[0] * torch.tensor([10.0, 0.5]) + torch.tensor([3.0, -1.0])
    torch.testing.assert_close(decode(model, features), expected, rtol=0, atol=1e-10)
    for block_bins in (1, 7):  # shorter than the tokenizer's history, and longer
        torch.testing.assert_close(decode(model, features, block_bins=block_bins), expected, rtol=0, atol=1e-10)


@TOKENIZERS
def test_decode_is_causal_and_has_dropout_off(tokenizer):
    model = student(dropout=0.5, tokenizer=tokenizer).train()
    features = torch.randn(60, 6)
    changed = features.clone()
    changed[40:] += 1.0
    before, after = decode(model, features), decode(model, changed)
    torch.testing.assert_close(after[:40], before[:40], rtol=0, atol=0)
    assert (after[40:] - before[40:]).abs().max() > 0.01
