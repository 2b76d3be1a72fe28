"""Whether parts of a recording (triggers, recordings of an experiment) continue one another."""

from dataclasses import dataclass
from pathlib import Path

from realm_edge.errors import UserError

_SAME_RATE = 0.5  # samples by which the rates of two parts may differ at the end of the shorter one


@dataclass(frozen=True)
class Part:
    """One stream in one part of a recording."""

    path: Path
    rate: float  # Hz
    samples: int
    channels: tuple[str, ...]
    gains: tuple[float, ...]  # one per channel


def refuse_other(first: Part, other: Part) -> None:
    """Check that a part can follow the first.

    Raises:
        UserError: its channels, gains or rate differ.
    """
    if abs(other.rate / first.rate - 1) * min(first.samples, other.samples) >= _SAME_RATE:
        differ = f"{other.rate:g} and {first.rate:g} Hz"
    elif other.channels != first.channels:
        differ = f"{len(other.channels)} and {len(first.channels)} channels, not all of one name"
    else:
        gains = [each for each in zip(other.gains, first.gains, first.channels, strict=True) if each[0] != each[1]]
        if not gains:
            return
        differ = f"gains of {gains[0][0]:.4g} and {gains[0][1]:.4g} in channel {gains[0][2]}"
    raise UserError(f"{other.path}: it does not continue {first.path}: {differ}: make a recording of each, in a directory of its own")
