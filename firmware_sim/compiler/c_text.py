"""Values as C text."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

C_TYPE = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t"}


def literal(value: int, dtype: str) -> str:
    """An integer of a type."""
    # The most negative values have no literal of their own type in C.
    lowest = {"int32": -(2**31), "int64": -(2**63)}.get(dtype)
    if value == lowest:
        return "INT32_MIN" if dtype == "int32" else "INT64_MIN"
    return f"INT64_C({value})" if dtype == "int64" else str(value)


def float_literal(value: float) -> str:
    """The float that is nearest to a value, in the fewest digits that give it."""
    single = np.float32(value)
    plain = single == 0 or 1e-4 <= abs(single) < 1e6
    return (np.format_float_positional(single, trim="0") if plain else np.format_float_scientific(single, trim="0")) + "f"


def rate_literal(hz: float) -> str:
    """A rate: a whole one as an integer, so that the preprocessor can compute with it."""
    return str(int(hz)) if hz == int(hz) else float_literal(hz)


def string_literal(text: str) -> str:
    """A string, in UTF-8."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode()) + '"'


def initialiser(values: Sequence[str], a_line: int = 8) -> str:
    """The braces of a macro, over several lines."""
    lines = [", ".join(values[i : i + a_line]) for i in range(0, len(values), a_line)]
    return "{" + ", \\\n    ".join(lines) + "}"


def comment(text: str) -> str:
    """Names come from an untrusted file: keep what cannot end a C comment, or be a command of Doxygen."""
    return re.sub(r"[^\w '.,:/()\[\]+-]", "_", text, flags=re.ASCII)


def dimensions(shape: Iterable[int]) -> str:
    """ "2][3" of (2, 3), to go between brackets."""
    return "][".join(map(str, shape))


def doxygen(*lines: str) -> list[str]:
    """A comment that Doxygen reads."""
    return [f"/** {lines[0]} */"] if len(lines) == 1 else ["/**", *(f" * {line}".rstrip() for line in lines), " */"]


def guarded(name: str, lines: Iterable[str]) -> list[str]:
    """A header's content within its include guard."""
    return [f"#ifndef {name}", f"#define {name}", "", *lines, "", f"#endif /* {name} */"]


def for_c_and_cpp(lines: Iterable[str]) -> list[str]:
    """Declarations and definitions that have C's linkage in C++, too."""
    return ["#ifdef __cplusplus", 'extern "C" {', "#endif", "", *lines, "", "#ifdef __cplusplus", "}", "#endif"]
