"""What stored integers are worth: macros and functions of a header, by what a step graph says of its data tensors."""

from dataclasses import dataclass

import numpy as np

from firmware_sim.compiler.c_text import comment, doxygen, float_literal, initialiser, string_literal
from firmware_sim.compiler.graph import StepGraph
from firmware_sim.compiler.kernels.interface import Value
from realm_edge.errors import UserError


@dataclass(frozen=True)
class Quantity:
    """A data tensor: value = stored * scale + offset in ``unit``, element by element."""

    unit: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    names: tuple[str, ...] | None

    @property
    def uniform(self) -> bool:
        """Whether one scale and offset hold for all elements."""
        return len(set(self.scale)) == 1 and len(set(self.offset)) == 1


def quantity(graph: StepGraph, value: Value) -> Quantity:
    """What the metadata of a graph say of a data tensor.

    Raises:
        UserError: a scale or offset is none that a float holds, or a scale is 0.
    """
    about = graph.io.get(value.name, {})
    elements = int(np.prod(value.shape))
    scale, offset = (
        np.broadcast_to(np.asarray(about.get(key, default), np.float64), elements) for key, default in (("scale", 1.0), ("offset", 0.0))
    )
    with np.errstate(over="ignore"):
        single = scale.astype(np.float32), offset.astype(np.float32)
    if not (np.isfinite(single).all() and single[0].all()):
        raise UserError(f"{graph.source}: a scale or offset of tensor '{value.name}' is 0 or too large for a float; quantise it again")
    names = about.get("names")
    return Quantity(
        _unicode(about.get("unit", "")),
        tuple(scale.tolist()),
        tuple(offset.tolist()),
        None if names is None else tuple(map(_unicode, names)),
    )


def _unicode(text: str) -> str:
    """Without halves of characters, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def described(value: Value, found: Quantity) -> str:
    """A line for people."""
    text = f"{value.dtype}[{']['.join(map(str, value.shape))}]" + (f", {comment(found.unit)}" if found.unit else "")
    if found.uniform:
        added = f" + {found.offset[0]:.6g}" if found.offset[0] else ""
        return f"{text}, value = stored * {found.scale[0]:.6g}{added}"
    return f"{text}, value = stored * a scale of each element ({min(found.scale):.6g} to {max(found.scale):.6g}) + an offset of each"


def macros(upper: str, found: Quantity) -> list[str]:
    """``<upper>_UNIT``; ``_SCALE`` and ``_OFFSET`` where they hold for all elements, ``_SCALES`` and ``_OFFSETS`` where not; ``_NAMES``."""
    lines = [*doxygen("Unit of a value."), f"#define {upper}_UNIT {string_literal(found.unit)}"]
    for what, values in (("SCALE", found.scale), ("OFFSET", found.offset)):
        means = {"SCALE": "What one stored count is worth", "OFFSET": "Value of a stored 0"}[what]
        if found.uniform:
            lines += [*doxygen(f"{means}, of every element."), f"#define {upper}_{what} {float_literal(values[0])}"]
        else:
            content = initialiser([float_literal(value) for value in values])
            lines += [*doxygen(f"{means}, element by element: the initialiser of an array."), f"#define {upper}_{what}S {content}"]
    if found.names:
        content = initialiser([string_literal(name) for name in found.names], 4)
        lines += [*doxygen("Names of the elements: the initialiser of an array."), f"#define {upper}_NAMES {content}"]
    return lines


def to_units(name: str, elements: int, found: Quantity) -> list[str]:
    """``<name>_to_units``: a stored integer as a value."""
    return [
        *doxygen(
            f"@brief A stored element as a value in {comment(found.unit) or 'its unit'}.",
            "@param stored what was written.",
            f"@param element which it is, 0 to {elements - 1}.",
            "@return the value.",
        ),
        f"static inline float {name}_to_units(int16_t stored, int32_t element) {{",
        *_scales(name, elements, found),
        f"    return ((float)stored * {_of_element('SCALE', name, found)}) + {_of_element('OFFSET', name, found)};",
        "}",
    ]


def from_units(name: str, elements: int, found: Quantity) -> list[str]:
    """``<name>_from_units``: a value as the integer that the model reads, rounded as it was when the model was made."""
    return [
        *doxygen(
            f"@brief A value in {comment(found.unit) or 'its unit'} as the model reads it.",
            "@param value is rounded to the nearest count, of two to the even one; at most 32767 and at least -32767, as NaN is.",
            f"@param element which it is, 0 to {elements - 1}.",
            "@return what is to be stored.",
        ),
        f"static inline int16_t {name}_from_units(float value, int32_t element) {{",
        *_scales(name, elements, found),
        f"    const float counts = (value - {_of_element('OFFSET', name, found)}) / {_of_element('SCALE', name, found)};",
        "    int32_t whole;",
        "    if (!(counts > -32767.0f)) {",
        "        whole = -32767;",
        "    } else if (counts >= 32767.0f) {",
        "        whole = 32767;",
        "    } else {",
        "        float rest;",
        "        whole = (int32_t)counts; /* towards 0 */",
        "        rest = counts - (float)whole;",
        "        if ((rest > 0.5f) || ((rest >= 0.5f) && ((whole % 2) != 0))) {",
        "            whole++;",
        "        } else if ((rest < -0.5f) || ((rest <= -0.5f) && ((whole % 2) != 0))) {",
        "            whole--;",
        "        } else {",
        "            /* It is the nearest. */",
        "        }",
        "    }",
        "    return (int16_t)whole;",
        "}",
    ]


def _scales(name: str, elements: int, found: Quantity) -> list[str]:
    if found.uniform:
        return ["    (void)element;"]
    return [f"    static const float {what.lower()}[{elements}] = {name.upper()}_{what};" for what in ("SCALES", "OFFSETS")]


def _of_element(what: str, name: str, found: Quantity) -> str:
    return f"{name.upper()}_{what}" if found.uniform else f"{what.lower()}s[element]"
