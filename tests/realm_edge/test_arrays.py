"""A student that arrays with different numbers of channels train: one input layer each, everything else in common."""

import pytest
import torch

from realm_edge.models.student import Student
from realm_edge.settings import ModelSettings
from realm_edge.training.arrays import SharedStudent

SETTINGS = ModelSettings(d_model=16, n_layer=2, d_state=8, headdim=8)


@pytest.mark.parametrize("tokenizer", ["linear", "channel"])
def test_only_the_array_that_is_seen_trains_its_layer(tokenizer):
    torch.manual_seed(0)
    student = Student(SETTINGS.model_copy(update={"tokenizer": tokenizer}), 6, 2, kinds=2)
    shared = SharedStudent(student, [6, 8, 8], kinds=2)
    assert list(shared.tokenizers) == ["8"]
    shared.encode(torch.randn(3, 20, 8)).sum().backward()
    assert student.tokenizer.weight.grad is None and shared.tokenizers["8"].weight.grad is not None
    assert student.blocks[0].mixer.in_proj.weight.grad.abs().sum() > 0
    x = torch.randn(3, 20, 6)
    assert torch.equal(shared.encode(x), student.encode(x, student.initial_state(3))[0])
