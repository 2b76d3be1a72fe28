"""The table of docs/boards.md, from the files in docs/boards: ``python -m tests.firmware_sim.board.boards_page`` writes it anew."""

from collections.abc import Iterable
from pathlib import Path

from firmware_sim.board.form import Board
from realm_edge.app.boards import read_board
from realm_edge.files import write_text

DOCS = Path(__file__).parents[3] / "docs"
BEGIN, END = "<!-- boards -->\n", "<!-- end of boards -->\n"
HEADER = (
    "| board | part | stream | counter | compiler, flags | bits | cycles a bin | table | error |\n|---|---|---|---|---|---|---|---|---|\n"
)


def row(board: Board) -> str:
    """One line; cycles are those of front end and decoder together."""
    whole = [each for each in board.rows if each.op == "stage"]
    measured, table = sum(each.measured for each in whole), sum(each.table or 0 for each in whole)
    figures = [f"{measured:,.0f}", f"{table:,.0f}", f"{100 * (table / measured - 1):+.1f} %"] if whole and table else ["–", "–", "–"]
    told = ", ".join(filter(None, (board.compiler, board.flags))) or "not told"
    bits = "agree" if board.bits.agree else "DIFFER"
    cells = [board.board or board.name, board.part or "–", board.stream, board.counter, told, bits, *figures]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |\n"


def table(boards: Iterable[Board]) -> str:
    return HEADER + "".join(row(board) for board in boards)


def page() -> str:
    """The page with its table as the files have it."""
    text = (DOCS / "boards.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    boards = [read_board(path) for path in sorted((DOCS / "boards").glob("*.json"))]
    return before + BEGIN + table(boards) + END + rest.partition(END)[2]


if __name__ == "__main__":
    write_text(DOCS / "boards.md", page())
