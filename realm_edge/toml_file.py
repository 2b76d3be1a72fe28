"""Reads a TOML file that a user wrote: a regular file of limited size and depth, whose whole numbers are those of TOML."""

import re
import tomllib
from pathlib import Path
from typing import Any

from realm_edge.errors import UserError
from realm_edge.files import read_bytes

MOST_BYTES = 1 << 20
DEEPEST = 16  # tables and arrays within one another
_LARGEST = 2**63  # whole numbers lie between -2^63 and 2^63 - 1, as TOML has them

# tomllib's time grows with the square of the parts of a dotted key. Each part is looked at from its beginning alone.
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DOTTED = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEEPEST}}}")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Returns:
        Its top table. Numbers may still be infinite or NaN.

    Raises:
        UserError: no such file, no regular file, larger than :data:`MOST_BYTES`, broken, or nested deeper than :data:`DEEPEST`.
    """
    try:
        content = read_bytes(path, MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: not readable as TOML ({error.strerror}): name a TOML file that can be read") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES:,} bytes: name a TOML file of settings or limits")
    return parse_toml(content, str(path))


def without_format(values: dict[str, Any], form: str, source: str) -> dict[str, Any]:
    """The values but for ``format``, which a file that a person writes may leave out.

    Raises:
        UserError: it is of another format than ``form``.
    """
    found = values.get("format", form)
    if found != form:
        raise UserError(f"{source}: format: it is of {found!r:.80}, and this version reads '{form}': write it anew")
    return {key: value for key, value in values.items() if key != "format"}


def parse_toml(content: bytes, source: str) -> dict[str, Any]:
    """As :func:`read_toml`, of bytes that were read already; ``source`` names them in errors."""
    try:
        text = content.decode("utf-8-sig")  # Windows' editors put a mark first
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not readable as TOML, which is UTF-8 (byte {error.start} is not): save it as UTF-8") from error
    try:
        dotted = _DOTTED.search(text)
        if dotted:
            raise _too_deep(source, dotted[0])
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source}: not readable as TOML ({error}): correct it there") from error
    except ValueError as error:  # Python's limit on the digits of a number
        raise UserError(f"{source}: a whole number of thousands of digits: use one of at most 64 bits, or a decimal point") from error
    except RecursionError:
        raise _too_deep(source) from None
    _check(values, source)
    return values


def _check(values: dict[str, Any], source: str) -> None:
    waiting: list[tuple[str, Any, int]] = [(key, value, 1) for key, value in values.items()]
    while waiting:
        key, value, depth = waiting.pop()
        if depth > DEEPEST:
            raise _too_deep(source, key)
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            raise UserError(f"{source}: {key:.80}: a whole number of {value.bit_length()} bits: use one of at most 64, or a decimal point")
        if isinstance(value, dict | list):
            inside = value.items() if isinstance(value, dict) else ((key, one) for one in value)
            waiting += [(name if isinstance(value, list) else f"{key}.{name}", one, depth + 1) for name, one in inside]


def _too_deep(source: str, where: str = "") -> UserError:
    return UserError(f"{source}: {where[:80] + ': ' if where else ''}nested deeper than {DEEPEST} tables or arrays: name a flatter file")
