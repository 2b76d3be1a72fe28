"""A profile as a flame graph: an SVG that needs no script. A box is a function, as wide as its cycles with those of what it called."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree as xml
from zlib import crc32

from firmware_sim.cycles.form import CyclesProfile, Stack

WIDTH, ROW, MARGIN, TITLE = 1200.0, 18.0, 10.0, 40.0  # pixels
LETTER = 6.7  # mean width of a letter, pixels
LEAST = 0.3  # pixels: narrower boxes are left out


@dataclass
class _Box:
    name: str
    cycles: float = 0.0
    inside: "dict[str, _Box]" = field(default_factory=dict)


def flame(profile: CyclesProfile) -> bytes:
    """The SVG; what was entered first is at the bottom, what it called above it, by name."""
    root = _tree(profile.stacks)
    height = TITLE + ROW * _depth(root) + MARGIN
    size = {"width": f"{WIDTH:g}", "height": f"{height:g}", "viewBox": f"0 0 {WIDTH:g} {height:g}"}
    svg = xml.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": "sans-serif", "font-size": "12", **size})
    xml.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    title = xml.SubElement(svg, "text", {"x": f"{MARGIN:g}", "y": "22", "font-size": "15"})
    title.text = f"{profile.program} on {profile.part}: {root.cycles:,.0f} cycles ({profile.label})"
    scale = (WIDTH - 2 * MARGIN) / max(root.cycles, 1.0)
    for name, cycles, x, level in _boxes(root, 0.0, 0):
        if cycles * scale >= LEAST:
            _draw(
                svg,
                name,
                (cycles, cycles / max(root.cycles, 1.0)),
                (MARGIN + x * scale, height - MARGIN - ROW * (level + 1), cycles * scale),
            )
    xml.indent(svg)
    return xml.tostring(svg, encoding="utf-8", xml_declaration=True) + b"\n"


def _tree(stacks: Iterable[Stack]) -> _Box:
    root = _Box("")
    for stack in stacks:
        box = root
        box.cycles += stack.cycles
        for name in stack.functions:
            box = box.inside.setdefault(name, _Box(name))
            box.cycles += stack.cycles
    return root


def _depth(box: _Box) -> int:
    return 1 + max(map(_depth, box.inside.values())) if box.inside else 0


def _boxes(box: _Box, x: float, level: int) -> Iterator[tuple[str, float, float, int]]:
    """Name, cycles, left edge in cycles and level of all boxes inside of one."""
    for name, inner in sorted(box.inside.items()):
        yield name, inner.cycles, x, level
        yield from _boxes(inner, x, level + 1)
        x += inner.cycles


def _draw(svg: xml.Element, name: str, amount: tuple[float, float], place: tuple[float, float, float]) -> None:
    x, y, width = place
    group = xml.SubElement(svg, "g")
    xml.SubElement(group, "title").text = f"{name}: {amount[0]:,.0f} cycles, {amount[1]:.1%}"
    shade = crc32(name.encode()) % 60  # the same function has the same colour in every picture
    box = {"x": f"{x:.2f}", "y": f"{y:g}", "width": f"{width:.2f}", "height": f"{ROW - 1:g}", "rx": "2"}
    xml.SubElement(group, "rect", {**box, "fill": f"hsl({20 + shade // 2}, 85%, {62 + shade // 4}%)"})
    letters = int((width - 6) / LETTER)
    if letters >= 3:
        text = xml.SubElement(group, "text", {"x": f"{x + 3:.2f}", "y": f"{y + ROW - 5:g}"})
        text.text = name if len(name) <= letters else f"{name[: letters - 1]}…"
