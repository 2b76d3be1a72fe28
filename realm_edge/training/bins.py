"""Bins of a session as tensors: in memory, or read from a file and standardised when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from realm_edge.table import Rows, Table

_CPU = torch.device("cpu")


class Bins(Protocol):
    """(bins, n) float32 of which a slice of bins is a tensor: a tensor itself, or :class:`StoredBins`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Tensor: ...

    def to(self, device: torch.device, /) -> Any: ...

    def numpy(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class StoredBins:
    """Bins that stay in their file: a session takes memory only where training looks at it."""

    rows: Rows  # (bins, n), as the session's file has them
    standardised: Callable[[Tensor], Tensor]  # element by element, so that a slice is to the bit what the whole would be there
    device: torch.device = _CPU

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice, /) -> Tensor:
        return _tensor(self.rows[part], self.standardised).to(self.device)

    def to(self, device: torch.device, /) -> "StoredBins":
        """The same, slices of which lie on a device."""
        return replace(self, device=device)

    def numpy(self) -> NDArray[Any]:
        """All of them, in memory."""
        return _tensor(self.rows[:], self.standardised).numpy()


def bins_of(table: Table, standardised: Callable[[Tensor], Tensor]) -> Bins:
    """A table of a session, standardised: now, where it is in memory, or slice by slice, where it is in a file."""
    return StoredBins(table, standardised) if isinstance(table, Rows) else _tensor(table, standardised)


def _tensor(rows: Table, standardised: Callable[[Tensor], Tensor]) -> Tensor:
    return standardised(torch.from_numpy(np.asarray(rows, np.float32)))
