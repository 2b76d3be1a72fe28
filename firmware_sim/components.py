"""The component library: figures with unit, condition, source and confidence."""

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from realm_edge.documents import Number
from realm_edge.errors import UserError

CONFIDENCES = ("primary", "abstract", "secondary", "derived", "unverified")
UNITS = ("uW", "uW/channel", "pJ/conversion", "pJ/cycle", "us", "cycles", "mW", "Mb/s", "bytes/packet")


@dataclass(frozen=True)
class Figure:
    """One sourced figure."""

    name: str
    value: Number
    unit: str
    condition: str
    source: str
    confidence: str


class Components:
    """Looks figures up and remembers which were used, so that a report can list them."""

    def __init__(self, figures: dict[str, Figure]) -> None:
        self._figures = figures
        self._used: dict[str, Figure] = {}

    def value(self, name: str, unit: str) -> float:
        """The figure ``name`` in ``unit``.

        Raises:
            UserError: there is no such figure, or it has another unit.
        """
        figure = self._figures.get(name)
        if figure is None:
            raise UserError(
                f"component library: no figure '{name}'; add it to data/components.toml with unit, condition, source and confidence"
            )
        if figure.unit != unit:
            raise UserError(f"component library: '{name}' is in {figure.unit}, {unit} is needed")
        self._used[name] = figure
        return figure.value

    def used(self) -> tuple[Figure, ...]:
        """The figures that were looked up, sorted by name."""
        return tuple(self._used[name] for name in sorted(self._used))

    def unverified(self) -> list[str]:
        """One line for each unverified figure that was looked up: a report must show them."""
        return [f"{f.name}: {f.value:g} {f.unit} ({f.source})" for _, f in sorted(self._used.items()) if f.confidence == "unverified"]


def load_components(path: Path | None = None) -> Components:
    """Read a component library (default: the one in the package).

    Raises:
        UserError: the file is missing or broken, or an entry lacks a field, has an unknown unit or confidence, or a negative value.
    """
    if path is None:
        return Components(_shipped())
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return Components(parse_components(text, str(path)))


@cache
def _shipped() -> dict[str, Figure]:
    return parse_components(files("firmware_sim").joinpath("data/components.toml").read_text(encoding="utf-8"), "data/components.toml")


def parse_components(text: str, source: str) -> dict[str, Figure]:
    """Parse a library from TOML; errors as :func:`load_components`, naming ``source``."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source}: not readable as TOML ({error})") from error
    return {figure.name: figure for figure in _figures(tree, "", source)}


def _figures(tree: dict, prefix: str, source: str) -> list[Figure]:
    found = []
    for key, value in tree.items():
        name = prefix + key
        if not isinstance(value, dict):
            raise UserError(f"{source}: '{name}' is not a table of figures")
        if any(isinstance(inner, dict) for inner in value.values()):
            found += _figures(value, f"{name}.", source)
        else:
            found.append(_figure(name, value, source))
    return found


def _figure(name: str, row: dict, source: str) -> Figure:
    try:
        figure = Figure(name=name, **row)
    except TypeError as error:
        raise UserError(f"{source}: '{name}' needs exactly value, unit, condition, source, confidence ({error})") from error
    if isinstance(figure.value, bool) or not isinstance(figure.value, int | float) or not math.isfinite(figure.value) or figure.value < 0:
        raise UserError(f"{source}: '{name}' has value {figure.value!r}: a finite number of at least 0 is needed")
    if figure.unit not in UNITS:
        raise UserError(f"{source}: '{name}' has unit '{figure.unit}': use one of {', '.join(UNITS)}")
    if figure.confidence not in CONFIDENCES:
        raise UserError(f"{source}: '{name}' has confidence '{figure.confidence}': use one of {', '.join(CONFIDENCES)}")
    for field in ("condition", "source"):
        if not isinstance(row[field], str) or not row[field].strip():
            raise UserError(f"{source}: '{name}' has no {field}")
    return figure
