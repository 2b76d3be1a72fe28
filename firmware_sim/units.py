"""Units of figures: pint, with a registry of what the library counts. Pint's own would take a cycle for a turn of 2 pi."""

import re
from functools import cache
from typing import TYPE_CHECKING

from realm_edge.errors import UserError

if TYPE_CHECKING:
    import pint  # takes half a second to import: where units are read, and not with every command

_DEFINITIONS = """
pico- = 1e-12 = p-
nano- = 1e-9 = n-
micro- = 1e-6 = u-
milli- = 1e-3 = m-
centi- = 1e-2 = c-
kilo- = 1e3 = k-
mega- = 1e6 = M-
second = [time] = s
metre = [length] = m
kelvin = [temperature] = K
joule = [energy] = J
ampere = [current] = A
watt = joule / second = W
volt = watt / ampere = V
ohm = volt / ampere
farad = ampere * second / volt = F
hertz = 1 / second = Hz
cycle = [cycle] = _ = cycles
channel = [channel]
conversion = [conversion]
packet = [packet]
bit = [information] = b
byte = 8 * bit = _ = bytes
"""


_FORM = re.compile(r"(?:[A-Za-z]{1,12}(?:[*/][A-Za-z]{1,12}){0,3})?")  # no more is needed, and pint's parser is not made for hostile text


@cache
def _registry() -> "pint.UnitRegistry":
    import pint

    return pint.UnitRegistry(_DEFINITIONS.strip().splitlines())


def check_unit(unit: str) -> None:
    """See that a unit can be read; the empty one is a number without a unit.

    Raises:
        ValueError: it cannot.
    """
    if not _FORM.fullmatch(unit):
        raise ValueError("units joined by / and * are needed")
    import pint

    try:
        _registry().parse_units(unit)
    except pint.UndefinedUnitError as error:
        raise ValueError(str(error)) from error


@cache
def factor(unit: str, wanted: str) -> float:
    """By what a value in ``unit`` is multiplied to be in ``wanted``: 1000 of "mW" in "uW".

    Raises:
        UserError: they measure different things.
    """
    if unit == wanted:
        return 1.0
    import pint

    try:
        return float(_registry().Quantity(1.0, unit).to(wanted).magnitude)
    except pint.DimensionalityError:
        raise UserError(f"a figure in '{unit}', where '{wanted}' is needed") from None
