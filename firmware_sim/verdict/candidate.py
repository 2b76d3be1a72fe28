"""The scenarios that a verdict compares: what is sensed, where its features are made, what is sent. One small TOML file each."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import ValidationError, field_validator, model_validator

from firmware_sim.verdict.counts import Signal
from realm_edge.documents import Form
from realm_edge.errors import UserError
from realm_edge.settings import flaw
from realm_edge.toml_file import parse_toml, read_toml, without_format

FORMAT = "realm-edge scenario/1"
LONGEST = 120  # characters of a name or title


class Candidate(Form):
    """A scenario. A choice is no tolerance: nothing in it has a range.

    Attributes:
        name: of its file; with the title, it stands on one line of a terminal and in pictures.
        circuit: figure of ``components.toml`` that a front end in a circuit draws by channel, amplifier and converter not included.
        compression: figure of the share of the bits that is left of samples, and ``compressor`` the one that compressing draws by channel.
    """

    name: str
    title: str
    signal: Signal
    frontend: Literal["software", "circuit", "none"]
    sends: Literal["decoded", "features", "samples"]
    adc_bits: Literal[10, 12, 16] = 12
    circuit: str | None = None
    compression: str | None = None
    compressor: str | None = None

    @field_validator("name", "title")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        if not value.strip() or not value.isprintable() or len(value) > LONGEST:
            raise ValueError(f"use 1 to {LONGEST} characters that can be printed")
        return value

    @model_validator(mode="after")
    def _its_parts_agree(self) -> "Candidate":
        if (self.sends == "samples") != (self.frontend == "none"):
            raise ValueError("samples are sent where there is no front end, and only there: frontend = 'none' with sends = 'samples'")
        if (self.circuit is not None) != (self.frontend == "circuit"):
            raise ValueError("circuit: name its figure where the front end is one, and only there")
        if self.compression is None and self.compressor is not None:
            raise ValueError("compressor: what compresses needs a figure of 'compression', too")
        if self.compression is not None and self.sends != "samples":
            raise ValueError("compression: only samples are compressed")
        return self


def figures(candidate: Candidate) -> tuple[tuple[str, str], ...]:
    """The figures of ``components.toml`` that a scenario names itself, each with the unit that it is needed in."""
    units = ((candidate.circuit, "uW/channel"), (candidate.compressor, "uW/channel"), (candidate.compression, ""))
    return tuple((name, unit) for name, unit in units if name is not None)


@cache
def shipped() -> tuple[Candidate, ...]:
    """The package's, sorted by name."""
    folder = files("firmware_sim").joinpath("data/scenarios")
    found = [_candidate(parse_toml(each.read_bytes(), each.name), each.name) for each in folder.iterdir() if each.name.endswith(".toml")]
    return tuple(sorted(found, key=lambda candidate: candidate.name))


def read_candidate(path: Path) -> Candidate:
    """One of a user's own; its name is the file's.

    Raises:
        UserError: missing or broken file, unknown field, or fields that do not agree; the message names file and field.
    """
    return _candidate(read_toml(path), str(path))


def _candidate(values: dict, source: str) -> Candidate:
    fields = without_format(values, FORMAT, source)
    if "name" in fields:
        raise UserError(f"{source}: name: a scenario has the name of its file: leave it out, or rename the file")
    try:
        return Candidate.model_validate(fields | {"name": Path(source).stem})
    except ValidationError as error:
        raise UserError(f"{source}: {flaw(error, 'its fields')}") from error
