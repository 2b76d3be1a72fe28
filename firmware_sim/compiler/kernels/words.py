"""How a family of instruction sets does what filters need on 32-bit words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm.script import tirx as T


@dataclass(frozen=True)
class Words:
    """``kept`` keeps a 64-bit sum as it is, where LLVM would form it in another order; ``stepped(upper, step, limit)`` is
    clip(step upper, -limit, limit - 1) of an int32."""

    kept: Callable[[Any], Any]
    stepped: Callable[[Any, int, int], Any]


def _clipped(upper: Any, step: int, limit: int) -> Any:
    return T.max(T.min(upper * T.int32(step), T.int32(limit - 1)), T.int32(-limit))


SCALAR = Words(kept=lambda acc: acc, stepped=_clipped)
