"""Reads the log of a self-test (docs/boards.md): lines of ASCII, each with its number and checksum, among whatever else a serial port says.

Logs come from anybody: every line is checked, every number has a bound, and what is wrong costs a line.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from realm_edge.documents import Form
from realm_edge.errors import UserError
from realm_edge.files import read_bytes
from realm_edge.printable import printable
from realm_edge.settings import flaw

FORMAT = "realm-edge-board 1"
MOST_BYTES = 4 << 20  # of a file: a log has some kilobytes
_MARK = "@realm "
_LINE = re.compile(r"@realm (\d{1,5}) ([a-z]+)(?: (.*))? \*([0-9a-f]{8})")
Kind = TypeVar("Kind", bound=Form)
_AGAIN = "record it again from the board's reset on"

Text = Annotated[str, Field(max_length=300)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]*$", max_length=200)]
Word32 = Annotated[int, Field(ge=0, lt=1 << 32)]
Count = Annotated[int, Field(ge=0, lt=1 << 31)]
Crc = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
Value = Annotated[int, Field(ge=-32768, le=32767)]


class BundleLine(Form):
    """Which bundle was built; ``digest``: of its headers, sources and objects."""

    prefix: Name
    stream: Name
    build: Name
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class BitsLine(Form):
    """One run of the self-test against the reference; bin, output and values are those of the first output that is wrong."""

    by: Literal["model", "stage", "kernel"]
    bins: Annotated[int, Field(gt=0, le=100_000)]
    outputs: Annotated[int, Field(gt=0, le=1 << 16)]
    wrong: Count
    bin: Count
    output: Count
    expected: Value
    got: Value
    features: Literal["equal", "differ", "none"]

    @property
    def agrees(self) -> bool:
        return not self.wrong and self.features != "differ"


class CounterLine(Form):
    """What counted: its name ("none" where nothing did), which one was asked for, cycles that taking the time takes, and what became of a
    chain of so many instructions (0: there is none for this compiler) from the second time on."""

    name: Literal["none", "dwt", "systick", "mcycle", "own"]
    asked: Literal["none", "dwt", "systick", "mcycle", "own"]
    mask: Word32
    overhead: Word32
    chain: Count
    least: Word32
    most: Word32


class RegionLine(Form):
    """Cycles of a stage, of a call of a kernel, or of all of the first run ("model"), as counted, over its visits."""

    stage: Literal["model", "frontend", "decoder"]
    symbol: Annotated[str, Field(pattern=r"^[a-z0-9_]*$", max_length=200)]  # empty: of the stage
    visits: Count
    least: Word32
    most: Word32
    sum: Annotated[int, Field(ge=0, lt=1 << 53)]

    @model_validator(mode="after")
    def _adds_up(self) -> "RegionLine":
        if not self.visits * self.least <= self.sum <= self.visits * self.most:
            raise ValueError(f"{self.visits} visits of {self.least} to {self.most} cycles cannot take {self.sum}")
        return self


@dataclass(frozen=True)
class BoardLog:
    """A whole log. Texts are as the program was told; empty: it was not."""

    bundle: BundleLine
    version: str
    schema: str
    board: str
    clock_hz: int  # 0: not told
    compiler: str
    flags: str
    weights: bool  # whether their checksum is right
    bits: tuple[BitsLine, ...]
    counter: CounterLine
    regions: tuple[RegionLine, ...]

    @property
    def agrees(self) -> bool:
        return self.weights and all(run.agrees for run in self.bits)


@dataclass(frozen=True)
class _Line:
    at: int  # in the file, from 1
    number: int
    kind: str
    rest: str


def read_log(path: Path) -> BoardLog:
    """Read the last whole log of a file.

    Raises:
        UserError: no file, none in it, or the last one is cut off, damaged or of another format; the message names the line.
    """
    try:
        content = read_bytes(path, MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: name what the board wrote") from error
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}): name a file with what the board wrote") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: more than {MOST_BYTES >> 20} MiB: a log has some kilobytes: keep the part that the self-test wrote")
    return parse_log(content, str(path))


def parse_log(content: bytes, source: str) -> BoardLog:
    """As :func:`read_log`, of bytes; ``source`` names them in messages."""
    logs = _logs(content, source)
    whole = [lines for lines in logs if isinstance(lines[-1], _Line) and lines[-1].kind == "end"]
    return _log(list(_sound((whole or logs)[-1])), source)


def _logs(content: bytes, source: str) -> list[list[_Line | UserError]]:
    """All that begin with line 0: boards are reset, and begin anew. In place of a line that is damaged stands what is wrong with it."""
    logs: list[list[_Line | UserError]] = []
    outside: list[_Line | UserError] = []
    for at, text in enumerate(re.split("\r\n|\n|\r", content.decode("ascii", "replace")), 1):
        mark = text.rfind(_MARK)
        if mark < 0:
            continue
        line = _line(at, text[mark:].rstrip(" \t\0"), source)
        if isinstance(line, _Line) and line.number == 0:
            logs.append([])
        (logs[-1] if logs else outside).append(line)
    if not logs:
        why = "the beginning of the log ('@realm 0 log') is missing" if outside else "no line of a self-test's log is in it ('@realm ...')"
        raise UserError(f"{source}: {why}: {_AGAIN}")
    return logs


def _sound(lines: Sequence[_Line | UserError]) -> Iterator[_Line]:
    for line in lines:
        if isinstance(line, UserError):
            raise line
        yield line


def _line(at: int, text: str, source: str) -> _Line | UserError:
    match = _LINE.fullmatch(text)
    if match is None:
        return UserError(f"{source}: line {at}: '{printable(text[:60])}' is cut off or damaged: {_AGAIN}")
    found = f"{zlib.crc32(text.rpartition(' *')[0].encode('ascii', 'replace')):08x}"
    if found != match[4]:
        return UserError(f"{source}: line {at}: its checksum is {found}, not {match[4]}: it was damaged on its way: {_AGAIN}")
    return _Line(at, int(match[1]), match[2], match[3] or "")


def _log(lines: Sequence[_Line], source: str) -> BoardLog:
    for expected, line in enumerate(lines):
        if line.number != expected:
            raise UserError(
                f"{source}: line {line.at}: number {line.number} of the log, where {expected} is due: a line is missing: {_AGAIN}"
            )
    last = lines[-1]
    if lines[0].kind != "log" or lines[0].rest != FORMAT:
        had = printable(f"{lines[0].kind} {lines[0].rest}"[:60])
        raise UserError(f"{source}: line {lines[0].at}: '{had}' is not 'log {FORMAT}': compile the bundle again with this version")
    if last.kind != "end":
        raise UserError(f"{source}: line {last.at}: the log ends here, without its end: {_AGAIN}")
    by_kind: dict[str, list[_Line]] = {}
    for line in lines:
        by_kind.setdefault(line.kind, []).append(line)

    def one(kind: str) -> _Line:
        found = by_kind.get(kind, [])
        if len(found) != 1:
            raise UserError(f"{source}: the log has {len(found)} lines '{kind}', not one: compile the bundle again with this version")
        return found[0]

    def text(kind: str) -> str:
        return _checked(Text, one(kind).rest.strip(), one(kind), source)

    bits = tuple(_form(BitsLine, line, source) for line in by_kind.get("bits", []))
    if [run.by for run in bits] != ["model", "stage", "kernel"]:
        raise UserError(
            f"{source}: the log has no line 'bits' of each run (model, stage, kernel): compile the bundle again with this version"
        )
    weights = _words(one("weights"), source)
    agrees = _words(last, source)
    found = BoardLog(
        bundle=_form(BundleLine, one("bundle"), source),
        version=text("version"),
        schema=text("schema"),
        board=text("board"),
        clock_hz=_checked(Word32, _words(one("clock"), source).get("hz"), one("clock"), source),
        compiler=text("compiler"),
        flags=text("flags"),
        weights=_checked(Crc, weights.get("found"), one("weights"), source) == weights.get("expected"),
        bits=bits,
        counter=_form(CounterLine, one("counter"), source),
        regions=tuple(_form(RegionLine, line, source) for line in by_kind.get("region", [])),
    )
    if agrees != {"lines": str(len(lines)), "agrees": str(int(found.agrees))}:
        raise UserError(f"{source}: line {last.at}: the end does not say what the lines before it do: {_AGAIN}")
    return found


def _words(line: _Line, source: str) -> dict[str, str]:
    words = [word.partition("=") for word in line.rest.split()]
    found = {name: value for name, _, value in words}
    if len(found) != len(words) or not all(equals for _, equals, _ in words):
        raise UserError(f"{source}: line {line.at}: '{printable(line.rest[:60])}' is not 'name=value', each once: {_AGAIN}")
    return found


def _form(kind: type[Kind], line: _Line, source: str) -> Kind:
    found: Kind = _checked(kind, _words(line, source), line, source)
    return found


def _checked(kind: Any, value: object, line: _Line, source: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(
            f"{source}: line {line.at}: {line.kind}: {flaw(error, 'its value')}: compile the bundle again with this version"
        ) from error
