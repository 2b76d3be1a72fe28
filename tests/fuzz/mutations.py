"""Damaged copies of a file's bytes, drawn with a seed."""

import io
import random
import re
import zipfile
from collections.abc import Callable

Damage = Callable[[bytes, random.Random, bytes], bytes]

_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_NUMBERS = ("0", "-1", "1e400", "-1e400", "nan", "inf", "1e-400", str(2**31), str(2**63), str(2**64), "1e9", "0x", "''", "true", "[]", "{}")
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")


def mutated(content: bytes, draw: random.Random, other: bytes = b"") -> bytes:
    """One to four changes of a binary file.

    Args:
        other: of another file, pieces of which may be put in.
    """
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = draw.choice(_BINARY)(bytearray(content), draw, other)
    return content


def mutated_text(content: bytes, draw: random.Random, other: bytes = b"") -> bytes:
    """As :func:`mutated`, of TOML, JSON or a table: mostly other numbers, lines that are missing, and nesting."""
    if draw.random() < 0.25:
        return mutated(content, draw, other)
    return draw.choice(_TEXT)(content, draw)


def mutated_members(content: bytes, draw: random.Random, other: bytes = b"") -> bytes:
    """As :func:`mutated`, of an ``.npz``: half of the time inside one of its arrays, with the archive's sums as they should be."""
    if draw.random() < 0.5:
        return mutated(content, draw, other)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w") as changed:
        chosen = draw.choice(archive.namelist())
        for entry in archive.infolist():
            member = archive.read(entry)
            if entry.filename == chosen:
                head, values = member[:128], member[128:]
                member = mutated_text(head, draw) + values if draw.random() < 0.3 else head + mutated(values, draw, other)
            if entry.filename != chosen or draw.random() < 0.95:
                changed.writestr(entry.filename, member, entry.compress_type)
    return out.getvalue()


def _flip(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)


def _overwrite(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    at, size = draw.randrange(len(content) + 1), draw.choice((1, 2, 4, 8, 64))
    content[at : at + size] = draw.randbytes(size)
    return bytes(content)


def _integer(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    size = draw.choice((1, 2, 4, 8))
    at = draw.randrange(max(1, len(content) - size))
    content[at : at + size] = (draw.choice(_INTEGERS) % (1 << 8 * size)).to_bytes(size, draw.choice(("little", "big")))
    return bytes(content)


def _head(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    """Headers decide most."""
    if content:
        content[draw.randrange(min(len(content), 512))] = draw.randrange(256)
    return bytes(content)


def _cut(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    return bytes(content[: draw.randrange(len(content) + 1)])


def _drop(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    at = draw.randrange(len(content) + 1)
    del content[at : at + draw.choice((1, 3, 8, 512))]
    return bytes(content)


def _repeat(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    at, size = draw.randrange(len(content) + 1), draw.choice((1, 8, 512))
    return bytes(content[: at + size] + content[at:])


def _splice(content: bytearray, draw: random.Random, other: bytes) -> bytes:
    at, start, size = draw.randrange(len(content) + 1), draw.randrange(len(other) + 1), draw.choice((4, 16, 256))
    content[at : at + size] = other[start : start + size]
    return bytes(content)


def _number(content: bytes, draw: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    at = draw.choice(found)
    return content[: at.start()] + draw.choice(_NUMBERS).encode() + content[at.end() :]


def _lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        at = draw.randrange(len(lines))
        lines[at : at + 1] = draw.choice(([], [lines[at]] * 2, [lines[at], draw.choice(lines)]))
    return b"".join(lines)


def _nested(content: bytes, draw: random.Random) -> bytes:
    depth = draw.choice((50, 5000))
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    at = draw.choice(found)
    return content[: at.start()] + b"[" * depth + b"]" * depth + content[at.end() :]


def _word(content: bytes, draw: random.Random) -> bytes:
    words = re.findall(rb"\w+", content)
    if not words:
        return content
    return content.replace(draw.choice(words), draw.choice((b"", draw.choice(words), b"\xff", b"\x00", b"x" * 5000)), 1)


_BINARY = (_flip, _overwrite, _integer, _integer, _head, _head, _cut, _drop, _repeat, _splice)
_TEXT = (_number, _number, _lines, _nested, _word)
