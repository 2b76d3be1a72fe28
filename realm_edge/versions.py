"""Versions of this package and of those that make what it writes."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGE = "realm-edge"


def versions_of(packages: Sequence[str] = ()) -> dict[str, str]:
    """This package's version and those of others, by their names on PyPI; what is not installed is left out."""
    found = {name: _version(name) for name in (PACKAGE, *packages)}
    return {name: number for name, number in found.items() if number}


def differing(made_by: dict[str, str]) -> str:
    """The first package that is here in another version than what something was made with, in words; empty where none is."""
    for name, number in made_by.items():
        here = _version(name)
        if here != number:
            return f"{name} {number}, and {f'{here} is here' if here else 'it is not installed here'}"
    return ""


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
