"""A student that several arrays train: everything but the input layer is shared."""

from collections.abc import Iterable

from torch import Tensor, nn

from realm_edge.models.student import Student
from realm_edge.models.tokenizer import token_inputs


class SharedStudent(nn.Module):
    """The student, and an input layer for each other number of features; those are left behind after pretraining.

    Sessions with equal numbers of features share a layer: they count as recordings of one array.
    """

    def __init__(self, student: Student, n_features: Iterable[int], kinds: int) -> None:
        """``n_features``: of every pretraining session. ``kinds``: features a channel has."""
        super().__init__()
        self.student = student
        settings, others = student.settings, sorted(set(n_features) - {len(student.feature_mean)})
        self.tokenizers = nn.ModuleDict({str(n): nn.Linear(token_inputs(settings, n, kinds), settings.d_model) for n in others})

    def encode(self, normalised: Tensor) -> Tensor:
        """(batch, bins, n_features of any of the arrays) -> (batch, bins, d_model), from the zero state."""
        batch, _, n_features = normalised.shape
        tokenizer = None if n_features == len(self.student.feature_mean) else self.tokenizers[str(n_features)]
        hidden, _ = self.student.encode(normalised, self.student.initial_state(batch, n_features), tokenizer)
        return hidden

    def decode(self, normalised: Tensor) -> Tensor:
        """(batch, bins, n_features of any of the arrays) -> (batch, bins, dims), standardised, from the zero state."""
        return self.student.read_out(self.encode(normalised))
