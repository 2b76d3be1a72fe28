"""Runs a program in QEMU with the counting plugin, from one address to another or to its end."""

import math
import subprocess
import tempfile
from collections import Counter, deque
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import IO

from firmware_sim.attribution import Joined, joined
from firmware_sim.cores import CoreTable
from firmware_sim.cycles.program import Program
from firmware_sim.emulator import PROFILE, command, find_emulator, last_words
from firmware_sim.profile import Profile, read_profile
from firmware_sim.targets import Target
from realm_edge.errors import UserError

START = "start"  # the region before the first marker
_GRACE_S = 10.0  # for QEMU to write what was counted, when it is told to end
_PLUGIN = "realm_count: "
_MOST_LINES, _LONGEST_LINE = 200, 1000  # of what QEMU and the program say, that are kept


@dataclass(frozen=True)
class Span:
    """What is counted: from the first time at ``entry`` to the ``times``-th time at ``until``; None: to the program's end. With the names
    that messages use."""

    entry: int
    entry_name: str
    until: int | None = None
    until_name: str = ""
    times: int = 1


@dataclass(frozen=True)
class Counted:
    """What ran; ``stepped``: instruction by instruction, because interrupts came in between."""

    joined: Joined
    stepped: bool


def count(program: Program, span: Span, target: Target, table: CoreTable, seconds: float) -> Counted:
    """Run a program. Virtual time passes by instructions, as many as the part's clock has cycles, so that two runs are equal.

    Args:
        seconds: of real time, after which it is given up.

    Raises:
        UserError: QEMU is missing; the program did not end, ended with an error, or never reached an end of the span.
    """
    found = joined(_profile(program, span, target, table, seconds, single_step=False), table)
    if not _interrupted(found):
        return Counted(found, stepped=False)
    return Counted(joined(_profile(program, span, target, table, seconds, single_step=True), table), stepped=True)


def _interrupted(found: Joined) -> bool:
    """Whether an interrupt may have cut a block, or WFI: then what was counted as a whole did not run as a whole."""
    profile, decoded = found
    ends = {block.counter: instructions for block, instructions in zip(profile.blocks, decoded, strict=True) if instructions}
    if any(instruction.kind == "wfi" for instructions in ends.values() for instruction in instructions):
        return True
    for edge in profile.edges:
        last, first = ends[edge.source][-1], ends[edge.target][0]
        if not last.transfer and last.kind != "system" and first.address != last.address + last.size:
            return True
    return False


def _profile(program: Program, span: Span, target: Target, table: CoreTable, seconds: float, *, single_step: bool) -> Profile:
    emulator = find_emulator(target)
    line = command(
        emulator,
        replace(target.machine, arguments=program.board.arguments),
        _plugin_arguments(program, span, target, table),
        serial="none",
        single_step=single_step,
    )
    line += ["-icount", f"shift={max(0, round(math.log2(1e9 / target.clock_hz)))},sleep=off"]
    # QEMU's loader begins at the entry of the file; a core with a vector table begins where that says.
    elf = str(program.path.resolve())
    line += ["-kernel", elf] if program.board.vectors is not None else ["-device", f"loader,file={elf.replace(',', ',,')},cpu-num=0"]
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as name:
        folder = Path(name)
        done, in_time = _run(line, folder, seconds)
        path = folder / PROFILE
        complaint = next((text for text in done.stderr.splitlines() if text.startswith(_PLUGIN)), "")
        if complaint:
            raise UserError(f"{program.path}: {complaint.removeprefix(_PLUGIN)}: name another symbol")
        if not in_time:
            raise UserError(f"{program.path}: still running after {seconds:g} s{_place(path, program, table)}; {_ENDS}")
        if done.returncode:
            raise UserError(f"{program.path}: {_failure(done, target)}")
        profile = read_profile(path)
    if not profile.regions[0].instructions and not profile.nodes:
        raise UserError(f"{program.path}: it ended without reaching {span.entry_name}: name a symbol that runs, or leave out --entry")
    if span.until is not None and not profile.stopped:
        reached = f" {span.times} times" if span.times > 1 else ""
        raise UserError(
            f"{program.path}: it ended without reaching {span.until_name}{reached}: name a symbol that runs, or leave out --until"
        )
    names = [START, *program.markers]
    regions = tuple(replace(region, name=name) for region, name in zip(profile.regions, names, strict=True))
    return replace(profile, regions=regions)


_ENDS = "have it exit by semihosting, name a symbol that it reaches (--until), or give it longer (--seconds-limit)"


def _plugin_arguments(program: Program, span: Span, target: Target, table: CoreTable) -> list[str]:
    told = [f"r0={2**64 - 1:x}", *(f"r{number}={at:x}" for number, at in enumerate(program.markers.values(), 1))]
    told += [f"entry={span.entry:x}", f"contexts={'thumb' if table.isa == 'thumb' else 'rv32'}"]
    told += [f"until={span.until:x}", f"times={span.times}"] if span.until is not None else []
    told += ["crossings=on"] if "crossing" in table.cycles else []
    flash = target.flash
    if not flash.wait_states:
        return told
    told += [f"flash={piece.start:x}-{piece.stop:x}" for piece in program.flash]
    told += [f"line={flash.line_bytes}", f"icache={flash.instruction_cache_bytes // flash.line_bytes}"]
    return [*told, f"dcache={flash.data_cache_bytes // flash.line_bytes}", f"unified={'on' if flash.unified else 'off'}"]


def _run(line: list[str], folder: Path, seconds: float) -> tuple[subprocess.CompletedProcess[str], bool]:
    """What became of it, and whether it ended by itself; QEMU that is told to end leaves what was counted."""
    with subprocess.Popen(
        line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", stdin=subprocess.DEVNULL
    ) as process:
        said: deque[str] = deque(maxlen=_MOST_LINES)
        reader = Thread(target=_keep, args=(process.stderr, said), daemon=True)
        reader.start()
        try:
            in_time = _ended(process, seconds)
            if not in_time:
                process.terminate()
                _ended(process, _GRACE_S)
        finally:
            process.kill()
            process.wait()
            reader.join()
    return subprocess.CompletedProcess(line, process.returncode, "", "\n".join(said)), in_time


def _keep(stream: IO[str], said: deque[str]) -> None:
    """Take all that is written and keep the last lines: a program may write without an end, in one line too."""
    while text := stream.readline(_LONGEST_LINE):
        said.append(text.rstrip("\n"))


def _ended(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _place(path: Path, program: Program, table: CoreTable) -> str:
    """In which function most instructions ran, in words; empty where that is not known."""
    try:
        profile, _ = joined(read_profile(path), table)
    except UserError:
        return ""
    ran: Counter[str] = Counter()
    for block in profile.blocks:
        ran[program.functions.function_at(block.address)] += block.instructions * sum(block.counts)
    total = sum(ran.values())
    if not total:
        return ", where counting was to begin was not reached"
    name, most = max(ran.items(), key=lambda item: (item[1], item[0]))
    return f", {most / total:.0%} of the instructions in {name}"


def _failure(done: subprocess.CompletedProcess[str], target: Target) -> str:
    fatal = next((text.partition("fatal: ")[2] for text in done.stderr.splitlines() if "fatal: " in text), "")
    if fatal:
        return f"the simulated core stopped ({fatal}): the program met a fault that it does not handle"
    if done.returncode < 0:
        return f"{target.machine.emulator} was ended by signal {-done.returncode} ({last_words(done)})"
    said = f" ({last_words(done)})" if done.stderr.strip() else ""
    return f"it ended with status {done.returncode}{said}: cycles of a program that fails say nothing; have it end with 0"
