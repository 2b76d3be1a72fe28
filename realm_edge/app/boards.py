"""Boards of a run: which bundle a log is of, and ``boards/<name>.json``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_sim.board.form import BOARD, Board
from firmware_sim.board.log import BoardLog
from firmware_sim.bundle import Bundle, load_bundle, program_digest
from firmware_sim.compiler.bundle import check_compiled
from firmware_sim.targets import Target, get_target
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.documents import formed, header, jsonable
from realm_edge.errors import UserError
from realm_edge.files import read_json, sha256_file, write_json
from realm_edge.seal import is_intact, sealed
from realm_edge.streams import Stream

FOLDER = "boards"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_PACKAGES = ("ziglang",)  # compiles the self-test that the table is about


@dataclass(frozen=True)
class Flashed:
    """The bundle of a run that a log is of, and the part whose table it is held against."""

    bundle: Bundle
    stream: Stream
    target: Target


def find(run: RunDir, log: BoardLog, target: str | None, source: str) -> Flashed:
    """Look for the bundle in a run.

    Args:
        target: the part that the board has; None: the only one that the run has this bundle for.

    Raises:
        UserError: the run has no such bundle, or for several parts and none was named; its compile stage is stale.
    """
    names = (get_target(target).name,) if target else run.targets("compile")
    found = []
    for stream in artefacts.present(run):
        for name in names:
            path = artefacts.bundle(run, stream, name)
            if path.is_dir() and program_digest(path) == log.bundle.digest:
                found.append((stream, name, path))
    if not found:
        looked = f"compiled for {', '.join(names)}" if names else "nothing is compiled"
        told = f"{log.bundle.prefix}, {log.bundle.build}, digest {log.bundle.digest[:16]}"
        raise UserError(
            f"{source}: of a bundle ({told}) that {run.path} does not have ({looked}): name the run whose bundle was flashed (--out)"
        )
    if len(found) > 1:
        parts = ", ".join(name for _, name, _ in found)
        raise UserError(f"{source}: its bundle is that of several targets ({parts}): name the one that the board has (--target)")
    ((stream, name, path),) = found
    run.require(f"compile.{name}")
    return Flashed(load_bundle(path), stream, get_target(name))


def see_that_it_is_compiled(run: RunDir, flashed: Flashed) -> None:
    """See that the bundle is what the run's graphs compile to: QEMU is about to run its self-test. Raises a UserError where it is not."""
    frontend = artefacts.int8_frontend(run, flashed.stream)
    graphs = frontend if frontend.exists() else None, artefacts.int8_decoder(run, flashed.stream)
    check_compiled(flashed.bundle.path, flashed.stream.name, flashed.target.build, *graphs)


def name_of(given: str | None, log: BoardLog, source: Path) -> str:
    """Of the file that keeps a board: as given, or made of what the program was told of the board, or of the log's name.

    Raises:
        UserError: it is none.
    """
    if given is None:
        made = re.sub(r"[^a-z0-9]+", "-", (log.board or source.stem).lower()).strip("-")[:40]
        return f"{made or 'board'}-{log.bundle.stream}"
    if not _NAME.fullmatch(given):
        raise UserError(f"--name {given or repr(given)}: use lower-case letters, digits, '.', '_' and '-', at most 60")
    return given


def keep(run: RunDir, board: Board) -> Path:
    """Write ``boards/<name>.json``."""
    path = run.file(FOLDER, f"{board.name}.json")
    write_json(path, sealed(header(BOARD, _PACKAGES) | jsonable(board)))
    return path


def kept(run: RunDir, targets: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the file of each of :func:`boards_of`, by name."""
    return {board.name: sha256_file(run.file(FOLDER, f"{board.name}.json")) for board in boards_of(run, targets)}


def boards_of(run: RunDir, targets: Sequence[str]) -> tuple[Board, ...]:
    """The boards of targets of a run, by name; those whose bundles were compiled anew since are left out.

    Raises:
        UserError: a file is not as it was written.
    """
    found = [read_board(path) for path in sorted(run.file(FOLDER).glob("*.json"))]
    return tuple(board for board in found if board.target in targets and _is_current(run, board))


def _is_current(run: RunDir, board: Board) -> bool:
    if board.target is None:
        return False
    path = run.file("firmware", board.target, board.stream)
    return path.is_dir() and program_digest(path) == board.bundle_sha256


def read_board(path: Path) -> Board:
    """Read what :func:`keep` wrote.

    Raises:
        UserError: it is not as it was written.
    """
    remedy = "remove it, and run 'realm-edge board-check' again"
    content: Any = read_json(path)
    if not isinstance(content, dict) or content.get("format") != BOARD or not is_intact(content):
        raise UserError(f"{path}: changed since it was written, or of another version: {remedy}")
    board = formed(Board, {key: value for key, value in content.items() if key not in ("format", "made_by", "digest")}, path, remedy)
    if board.name != path.stem or Path(board.stream).name != board.stream or (board.target and Path(board.target).name != board.target):
        raise UserError(f"{path}: it says that it is of '{board.name}': {remedy}")
    return board
