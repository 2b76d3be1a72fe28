"""The table of docs/boards.md is that of the files."""

from pathlib import Path

from firmware_sim.board.check import checked
from firmware_sim.board.log import parse_log
from firmware_sim.bundle import load_bundle
from firmware_sim.targets import get_target
from tests.firmware_sim import conftest
from tests.firmware_sim.board.boards_page import DOCS, page, row
from tests.firmware_sim.board.logs import distorted, priced, written


def test_the_page_is_as_its_files_have_it() -> None:
    assert (DOCS / "boards.md").read_text(encoding="utf-8") == page()


def test_a_row_has_the_whole_bin(tmp_path: Path) -> None:
    bundle = load_bundle(conftest.write_bundle(tmp_path / "bundle", "cortex-m4", True))
    factors = {kernel.symbol: 2.0 for stage in bundle.stages for kernel in stage.kernels}
    log = parse_log(written(distorted(bundle, priced(bundle, lambda name: 1000.0), factors)), "log")
    board = checked(log, bundle, "bench", "0" * 64, (get_target("cortex-m4"), priced(bundle, lambda name: 1000.0)))
    cells = "NUCLEO-L4R5ZI | STM32L4R5 | lfp | dwt | 12.2.1 20221205, -O2 | agree | 6,080 | 3,080 | -49.3 %"
    assert row(board) == f"| {cells} |\n"
