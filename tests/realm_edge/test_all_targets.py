"""Every part at once: which stages run, and a table with the parts that are too small; and Linux, which is no part."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from firmware_sim.build import TooLarge
from firmware_sim.targets import targets
from realm_edge.app.all_targets import lines, matrix
from realm_edge.app.cli import main
from realm_edge.app.cli_work import compilable, simulated
from realm_edge.errors import UserError

SMALL = "mspm0l1306"


class Work:
    """In place of a run's workflow: two streams everywhere, but for a part that is too small."""

    def __init__(self, differs: str = "") -> None:
        self.stages: list[str] = []
        self.differs = differs

    def resume(self, stage: str, target: str, *arguments: object, request: dict, options: list) -> object:
        self.stages.append(stage)
        if stage == f"compile.{target}":
            assert arguments == (targets()[target].build, "acme") and request == {"prefix": "acme"}
            return {}
        if target == SMALL:
            raise TooLarge(Path("bundle"), targets()[target], "flash", "99999")
        costs = {"flash_bytes": 23670, "ram_bytes": 1500, "cycles_per_step": 1234.5, "fit_text": "fits: 1 of 100 MHz"}
        streams = {name: SimpleNamespace(**costs, bit_exact=target != self.differs) for name in ("lfp", "spike")}
        return SimpleNamespace(streams=streams)


def test_every_part_is_compiled_and_simulated_and_one_that_is_too_small_says_so():
    work = Work()
    rows = matrix(work, "acme")
    assert work.stages == [f"{verb}.{name}" for name in targets() for verb in ("compile", "simulate")]
    assert [(row.target, row.stream) for row in rows] == [
        (name, stream) for name in targets() for stream in ((None,) if name == SMALL else ("lfp", "spike"))
    ]
    (small,) = [row for row in rows if row.target == SMALL]
    assert (small.flash_bytes, small.bit_exact) == (None, None) and "needs 99999 bytes of flash" in small.fits
    header, first, *rest = lines(rows)
    assert first.split()[:2] == ["cortex-m4", "STM32L4R5"] and "23,670" in first and "1,234" in first and " equal " in first
    assert len(rest) == len(rows) - 1 and header.startswith("target") and not any("DIFFER" in line for line in rest)


@pytest.mark.parametrize(("differs", "status"), [("", 0), ("nrf52840", 1)])
def test_a_bit_that_differs_is_status_1(differs, status, monkeypatch):
    monkeypatch.setattr("realm_edge.app.cli.open_run", lambda out: Work(differs))
    monkeypatch.setattr("realm_edge.app.cli.try_emulators", lambda names: None)
    given = ["compile", "--target", "all", "--prefix", "acme", "--out", "run"]
    done = CliRunner().invoke(main, [*given, "--json"])
    assert done.exit_code == status
    assert {row["target"] for row in json.loads(done.stdout)["matrix"] if row["bit_exact"] is False} == ({differs} if differs else set())
    assert ("DIFFER" in CliRunner().invoke(main, given).stdout) == bool(differs)


def test_linux_is_compiled_for_and_not_simulated():
    assert compilable(("aarch64-linux", "rv32imc", "aarch64-linux")) == ("aarch64-linux", "rv32imc")
    assert simulated(("rv32imc", "x86_64-linux")) == ("rv32imc",)
    with pytest.raises(UserError, match=r"unknown target 'mips-linux': use one of cortex-m4, .*, riscv64-linux"):
        compilable(("mips-linux",))
