"""The component library: figures with low and high, unit, condition, source and confidence."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_sim.units import check_unit, factor
from realm_edge.documents import Number
from realm_edge.errors import UserError
from realm_edge.toml_file import parse_toml, read_toml, without_format

CONFIDENCES = ("primary", "abstract", "secondary", "derived", "unverified")
FORMAT = "realm-edge components/1"  # of a TOML file of them
LARGEST = 1e30  # of a figure, and one over it is the smallest: products of several are still numbers
Quantity = float | NDArray[np.float64]  # one value, or one a draw


@dataclass(frozen=True)
class Figure:
    """One sourced figure: ``value`` is the nominal one, and the true one is held to lie between ``low`` and ``high``.

    Low and high are both the value where a standard fixes it, or where the source gives no spread; ``condition`` then says which.
    """

    name: str
    value: Number
    low: Number
    high: Number
    unit: str
    condition: str
    source: str
    confidence: str

    def line(self) -> str:
        """The figure, its range and unit, in words."""
        spread = "" if self.low == self.high else f" ({self.low:g} to {self.high:g})"
        return f"{self.name}: {self.value:g}{spread} {self.unit}".rstrip()


class Components:
    """Looks figures up and remembers which were used, so that a report can list them."""

    def __init__(self, figures: Mapping[str, Figure], moved: Mapping[str, Quantity] | None = None) -> None:
        self._figures = figures
        self._moved = moved or {}
        self._used: dict[str, Figure] = {}

    def value(self, name: str, unit: str) -> Quantity:
        """The figure ``name`` in ``unit``: its nominal value, or what it was moved to.

        Raises:
            UserError: there is no such figure, or it measures something else.
        """
        figure = self._figures.get(name)
        if figure is None:
            raise UserError(
                f"component library: no figure '{name}'; give it in a file of --components with value, low, high, unit, condition, "
                "source and confidence"
            )
        try:
            times = factor(figure.unit, unit)
        except UserError as error:
            raise UserError(f"component library: '{name}': {error}") from None
        self._used[name] = figure
        return self._moved.get(name, figure.value) * times

    def fixed(self, name: str, unit: str) -> float:
        """A figure that a choice or a standard fixes, in ``unit``; it is never moved.

        Raises:
            UserError: as :meth:`value`, or it has a range.
        """
        self.value(name, unit)
        figure = self._figures[name]
        if figure.low != figure.high:
            raise UserError(f"component library: '{name}' has a range, {figure.low:g} to {figure.high:g}: it is a choice, give one value")
        return figure.value * factor(figure.unit, unit)

    def moved(self, values: Mapping[str, Quantity]) -> "Components":
        """The same library with other values for some figures, in their own units; it remembers by itself what is used."""
        return Components(self._figures, values)

    def all(self) -> tuple[Figure, ...]:
        """All figures, sorted by name."""
        return tuple(self._figures[name] for name in sorted(self._figures))

    def used(self) -> tuple[Figure, ...]:
        """The figures that were looked up, sorted by name."""
        return tuple(self._used[name] for name in sorted(self._used))

    def unverified(self) -> list[str]:
        """One line for each unverified figure that was looked up: a report must show them."""
        return [f"{each.line()} ({each.source})" for each in self.used() if each.confidence == "unverified"]


def load_components(path: Path | None = None) -> Components:
    """The library of the package, with the figures of a file over and beside it.

    Raises:
        UserError: the file is missing or broken, or an entry lacks a field, has an unknown unit or confidence, or a range that does not
            hold its value.
    """
    return Components(_shipped() if path is None else _shipped() | read_figures(path))


def read_figures(path: Path) -> dict[str, Figure]:
    """The figures of a TOML file by name; one that the package has too is in that one's dimension. Errors as :func:`load_components`."""
    source = str(path)
    found = _parsed(read_toml(path), source)
    for name in found.keys() & _shipped().keys():
        try:
            factor(found[name].unit, _shipped()[name].unit)
        except UserError as error:
            raise UserError(f"{source}: '{name}': {error}") from None
    return found


@cache
def _shipped() -> dict[str, Figure]:
    return parse_components(files("firmware_sim").joinpath("data/components.toml").read_text(encoding="utf-8"), "data/components.toml")


def parse_components(text: str, source: str) -> dict[str, Figure]:
    """Figures by name from TOML; errors as :func:`load_components`, naming ``source``."""
    return _parsed(parse_toml(text.encode(), source), source)


def _parsed(tree: dict, source: str) -> dict[str, Figure]:
    found = _figures(without_format(tree, FORMAT, source), "", source)
    if not found:
        raise UserError(f"{source}: holds no figure: give a table such as [sensing.adc-12] at least")
    return {figure.name: figure for figure in found}


def _figures(tree: dict, prefix: str, source: str) -> list[Figure]:
    found = []
    for key, value in tree.items():
        name = prefix + key
        if not isinstance(value, dict):
            raise UserError(f"{source}: '{name:.80}' is not a table of figures")
        if value and all(isinstance(inner, dict) for inner in value.values()):
            found += _figures(value, f"{name}.", source)
        else:
            found.append(_figure(name, value, source))
    return found


_FIELDS = tuple(field.name for field in fields(Figure) if field.name != "name")


def _figure(name: str, row: dict, source: str) -> Figure:
    where = f"{source}: '{name:.80}'"
    if set(row) != set(_FIELDS):
        wrong = sorted(set(row) ^ set(_FIELDS))
        raise UserError(f"{where} needs exactly {', '.join(_FIELDS)}: look at {', '.join(wrong):.80}")
    for field in ("value", "low", "high"):
        number = row[field]
        if isinstance(number, bool) or not isinstance(number, int | float) or not 1 / LARGEST <= number <= LARGEST:
            raise UserError(f"{where} has {field} {number!r:.80}: a finite number above 0 is needed, from {1 / LARGEST:g} to {LARGEST:g}")
    for field in ("unit", "condition", "source", "confidence"):
        if not isinstance(row[field], str) or (field != "unit" and not row[field].strip()):
            raise UserError(f"{where} has no {field}")
    figure = Figure(name=name, **row)
    if not figure.low <= figure.value <= figure.high:
        raise UserError(f"{where} has value {figure.value:g}, which does not lie in its range, {figure.low:g} to {figure.high:g}")
    try:
        check_unit(figure.unit)
    except ValueError as error:
        raise UserError(f"{where} has unit '{figure.unit:.80}' ({error}): use one such as uW/channel or pJ/cycle") from None
    if figure.confidence not in CONFIDENCES:
        raise UserError(f"{where} has confidence '{figure.confidence:.80}': use one of {', '.join(CONFIDENCES)}")
    return figure
