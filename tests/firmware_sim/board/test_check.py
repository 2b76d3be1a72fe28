"""What a log says of the table: known distortions come back, and what is no measurement is not called one."""

from dataclasses import replace
from pathlib import Path

import pytest

from firmware_sim.board.check import checked, require_same_bundle, why_no_measurement
from firmware_sim.board.form import Board
from firmware_sim.board.log import BoardLog, parse_log
from firmware_sim.board.table import Priced, summed
from firmware_sim.board.text import lines as shown
from firmware_sim.bundle import Bundle, load_bundle
from firmware_sim.targets import get_target
from firmware_sim.timing import Cycles
from realm_edge.errors import UserError
from tests.firmware_sim import conftest
from tests.firmware_sim.board.logs import BINS, DWT, distorted, ended, head, priced, region, written

TARGET = get_target("cortex-m4")
FILTER, FEATURES, LINEAR = "realm_frontend_k00_filter", "realm_frontend_k01_features", "realm_decoder_k00_linear"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(conftest.write_bundle(tmp_path_factory.mktemp("board") / "bundle", "cortex-m4", True))


def log_of(bundle: Bundle, table: Priced, factors: dict[str, float], counter: str = DWT) -> BoardLog:
    return parse_log(written(distorted(bundle, table, factors, counter)), "log")


def board(bundle: Bundle, log: BoardLog, table: Priced | None) -> Board:
    return checked(log, bundle, "bench", "0" * 64, (TARGET, table) if table else None)


def test_a_known_distortion_is_recovered_kernel_by_kernel(bundle: Bundle) -> None:
    factors, table = {FILTER: 1.25, FEATURES: 0.5, LINEAR: 3.0}, priced(bundle)
    found = board(bundle, log_of(bundle, table, factors), table)
    assert found.bits.agree and found.measured and found.counter == "dwt" and (found.part, found.core) == ("STM32L4R5", "cortex-m4")
    rows = {(row.stage, row.symbol, row.op): row for row in found.rows}
    for symbol, factor in factors.items():
        stage, op = {FILTER: ("frontend", "Biquad"), FEATURES: ("frontend", "Shift"), LINEAR: ("decoder", "QLinear")}[symbol]
        row = rows[(stage, symbol, op)]
        cycles = table.kernels[symbol]
        assert row.measured == factor * cycles.cycles / BINS and (row.table, row.table_low, row.table_high) == tuple(
            pytest.approx(value / BINS) for value in cycles
        )
        assert row.error_percent == pytest.approx(100 * (1 / factor - 1), abs=1e-3)
    for stage in ("frontend", "decoder"):
        assert (rows[(stage, "", "driver")].measured, rows[(stage, "", "driver")].error_percent) == (40.0, 0.0)
        of_kernels = sum(row.measured for row in found.rows if row.stage == stage and row.symbol)
        assert rows[(stage, "", "stage")].measured == of_kernels + 40
    assert [row.nodes for row in found.rows if row.symbol == LINEAR] == [("head",)]


def test_without_a_table_there_are_cycles_and_no_error(bundle: Bundle) -> None:
    found = board(bundle, log_of(bundle, priced(bundle), {}), None)
    assert found.measured and found.target is None
    assert {(row.table, row.error_percent) for row in found.rows} == {(None, None)} and all(row.measured > 0 for row in found.rows)


@pytest.mark.parametrize(
    ("counter", "why"),
    [
        ("name=none asked=none mask=4294967295 overhead=0 chain=256 least=0 most=0", "no counter; bits alone were checked"),
        ("name=none asked=dwt mask=4294967295 overhead=0 chain=256 least=0 most=0", "no counter: dwt did not move"),
        # As QEMU 7.2 answered: mcycle counts time of the host, SysTick that of a clock that instructions do not drive.
        ("name=mcycle asked=mcycle mask=4294967295 overhead=130 chain=256 least=286 most=69004", "took 286 to 69004"),
        ("name=systick asked=systick mask=16777215 overhead=2 chain=256 least=4 most=352", "took 4 to 352"),
        ("name=own asked=own mask=65535 overhead=1 chain=256 least=120 most=120", "took 120 to 120"),
    ],
)
def test_what_no_counter_of_cycles_counted_is_no_measurement(counter: str, why: str, bundle: Bundle) -> None:
    table = priced(bundle)
    found = board(bundle, log_of(bundle, table, {}, counter), table)
    assert not found.measured and found.rows == () and found.why_not is not None and why in found.why_not
    assert any("not measured" in line for line in shown(found)) and not any("measured by" in line for line in shown(found))


def test_a_chain_that_waits_for_flash_is_a_measurement_all_the_same(bundle: Bundle) -> None:
    log = log_of(bundle, priced(bundle), {}, DWT.replace("least=261 most=261", "least=1290 most=1320"))
    assert why_no_measurement(log) is None
    no_chain = log_of(bundle, priced(bundle), {}, DWT.replace("chain=256 least=261 most=261", "chain=0 least=3 most=3"))
    assert why_no_measurement(no_chain) is None
    assert any("was not checked" in remark for remark in board(bundle, no_chain, None).remarks)


def test_interrupts_are_minded(bundle: Bundle) -> None:
    lines = distorted(bundle, priced(bundle), {})
    at = next(i for i, (_, rest) in enumerate(lines) if f"symbol={LINEAR} " in rest)
    rest = lines[at][1]
    lines[at] = ("region", f"{rest.partition(' least=')[0]} least=10 most=90000 sum=400000")
    assert any(LINEAR in remark and "interrupts" in remark for remark in board(bundle, parse_log(written(lines), "log"), None).remarks)


def test_a_log_of_another_bundle_is_refused(bundle: Bundle) -> None:
    log = log_of(bundle, priced(bundle), {})
    require_same_bundle(log, bundle, "log")
    for changes, words in (
        ({"digest": "1" * 64}, "its digest is 1111"),
        ({"prefix": "acme_lfp"}, "its prefix is acme_lfp"),
        ({"build": "rv32imc"}, "its build is rv32imc"),
    ):
        other = replace(log, bundle=log.bundle.model_copy(update=changes))
        with pytest.raises(UserError, match=f"serial.log: of another bundle: {words}"):
            require_same_bundle(other, bundle, "serial.log")


def test_regions_that_are_not_the_bundles_are_refused(bundle: Bundle) -> None:
    lines = distorted(bundle, priced(bundle), {})[:-1]
    for gone in (LINEAR, "stage=decoder symbol= "):
        fewer = [line for line in lines if gone not in line[1]]
        with pytest.raises(UserError, match=r"regions are not those of .* \(decoder\)"):
            board(bundle, parse_log(written(ended(fewer)), "log"), None)
    moved = [region("decoder", "", 99, 9900) if "stage=decoder symbol= " in rest else (kind, rest) for kind, rest in lines]
    with pytest.raises(UserError, match="99 visits of the decoder, not 100"):
        board(bundle, parse_log(written(ended(moved)), "log"), None)


def test_the_first_output_that_differs_is_told(bundle: Bundle) -> None:
    lines = [
        (
            kind,
            rest.replace("wrong=0 bin=0 output=0 expected=0 got=0", "wrong=7 bin=31 output=1 expected=-5 got=-6")
            if "stage" in rest
            else rest,
        )
        for kind, rest in head()
    ]
    found = board(bundle, parse_log(written(ended(lines, agrees=0)), "log"), None)
    (problem,) = found.bits.problems
    assert "7 of 200 outputs differ, the first in bin 31, output 1: -6 instead of -5" in problem and "it is the decoder" in problem
    assert not found.bits.agree and any("BITS DIFFER" in line for line in shown(found))


def test_call_stacks_are_summed_below_stages_and_kernels_each_in_its_own_run(bundle: Bundle) -> None:
    def one(cycles: float) -> Cycles:
        return Cycles(cycles, cycles / 2, 2 * cycles)

    model, entry = "realm_step_block", "realm_decoder_step"
    found = summed(
        bundle,
        {
            ("start", "main"): one(1),
            ("start", "main", model, entry, LINEAR): one(10),  # the first run is the whole model's
            ("start", "main", entry): one(100),
            ("start", "main", entry, LINEAR): one(1000),
            ("start", "main", entry, LINEAR, "__aeabi_lmul"): one(10_000),
            ("start", "main", "decoder_by_kernel", LINEAR): one(100_000),
            ("start", "main", "decoder_by_kernel", LINEAR, "__aeabi_lmul"): one(1_000_000),
            ("start", "main", "decoder_by_kernel", "took"): one(10_000_000),
        },
    )
    assert found.stages == {"decoder": one(11_100)} and found.kernels == {LINEAR: one(1_100_000)}


def test_a_fraction_of_a_cycle_is_kept(bundle: Bundle, tmp_path: Path) -> None:
    table = priced(bundle, lambda name: 333.33)
    found = board(bundle, log_of(bundle, table, {LINEAR: 1.01}), table)
    (row,) = [row for row in found.rows if row.symbol == LINEAR]
    assert row.measured == pytest.approx(336.66, abs=0.01) and row.error_percent == pytest.approx(-0.99, abs=0.01)
