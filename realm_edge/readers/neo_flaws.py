"""What there is to tell of the files that a recording by Neo consists of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flaws:
    """Sentences without a full stop, each of which names a file."""

    cut_short: tuple[str, ...] = ()  # what is used although a part of it is missing
    left_out: tuple[str, ...] = ()  # what is not used

    def __add__(self, other: "Flaws") -> "Flaws":
        return Flaws(self.cut_short + other.cut_short, self.left_out + other.left_out)
