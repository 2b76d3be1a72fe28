"""GRU and LSTM of torch: one layer on the inputs and a linear read-out."""

from typing import Any, Literal

from torch import Tensor, nn

from realm_edge.baselines.cost import width_for
from realm_edge.baselines.sequence import SequenceDecoder
from realm_edge.training.loop import Phase, seeded

Kind = Literal["gru", "lstm"]

_CELLS: dict[Kind, tuple[type[nn.GRU] | type[nn.LSTM], int]] = {"gru": (nn.GRU, 3), "lstm": (nn.LSTM, 4)}  # and their gates


class Recurrent(SequenceDecoder):
    """``width`` hidden units; one layer, since at a given number of parameters that leaves most of them to the state."""

    def __init__(self, kind: Kind, width: int, n_inputs: int, dims: int) -> None:
        super().__init__()
        self.cell = _CELLS[kind][0](n_inputs, width, batch_first=True)
        self.dropout = nn.Dropout()
        self.head = nn.Linear(width, dims)

    def forward(self, normalised: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        hidden, state = self.cell(normalised, state)
        return self.head(self.dropout(hidden)), state


def count(kind: Kind, width: int, n_inputs: int, dims: int) -> int:
    """Parameters: gates * width * (inputs + width + 2 biases) + the read-out."""
    return _CELLS[kind][1] * width * (n_inputs + width + 2) + dims * (width + 1)


def build(kind: Kind, parameters: int, n_inputs: int, dims: int, phase: Phase) -> Recurrent:
    """A GRU or LSTM of about ``parameters`` parameters with random weights."""
    width = width_for(parameters, lambda width: count(kind, width, n_inputs, dims))
    with seeded(phase, "init"):
        return Recurrent(kind, width, n_inputs, dims)
