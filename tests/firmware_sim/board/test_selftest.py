"""The self-test of a bundle: right on every core that QEMU has, by two compilers, and wrong where something is wrong."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from firmware_sim.board.check import why_no_measurement
from firmware_sim.board.log import parse_log
from firmware_sim.builds import builds, linux_builds
from firmware_sim.bundle import Bundle, load_bundle, program_digest
from firmware_sim.compiler.selftest_vectors import Extent, make_input
from firmware_sim.targets import get_target
from tests.firmware_sim.board.selftests import BUILDERS, by_zig, needs_emulator, run, write_lfp, write_spike
from tests.firmware_sim.compiled_graphs import CHANNELS, DIMS, TICKS

TARGETS = {  # of each build, a part
    "cortex-m0plus": "stm32g0b1",
    "cortex-m4": "cortex-m4",
    "cortex-m7": "stm32h7a3",
    "cortex-m33": "stm32u385",
    "cortex-m55": "cortex-m55",
    "rv32imc": "rv32imc",
}
QUICK = [("cortex-m4", "zig", "lfp"), ("cortex-m4", "gcc", "lfp")]
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow, id="-".join(case))
    for case in product(TARGETS, BUILDERS, ("lfp", "spike"))
]
TOLD = ('-D{0}_SELFTEST_BOARD="Bench 3"', "-D{0}_SELFTEST_CLOCK_HZ=64000000", '-D{0}_SELFTEST_FLAGS="-O2 from RAM"')


@pytest.fixture(scope="module")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Bundle]:
    """By build and stream; each is compiled once."""

    @cache
    def made(build: str, stream: str) -> Bundle:
        return {"lfp": write_lfp, "spike": write_spike}[stream](tmp_path_factory.mktemp("bundle"), build)

    return made


@pytest.fixture(scope="module")
def lfp(bundle_of: Callable[[str, str], Bundle]) -> Bundle:
    return bundle_of("cortex-m4", "lfp")


@pytest.mark.parametrize(("build", "compiler", "stream"), CASES)
def test_every_bit_agrees_in_the_emulator_and_nothing_is_called_measured(
    build: str, compiler: str, stream: str, bundle_of: Callable[[str, str], Bundle], tmp_path: Path
) -> None:
    target = get_target(TARGETS[build])
    needs_emulator(target)
    bundle = bundle_of(build, stream)
    told = [flag.format(bundle.prefix.upper()) for flag in TOLD]
    ran = run(BUILDERS[compiler](bundle, target, tmp_path / "build", told), target)
    log = parse_log(ran.log, "log")
    assert (ran.status, log.agrees, [one.wrong for one in log.bits]) == (0, True, [0, 0, 0])
    assert (log.bundle.prefix, log.bundle.build, log.bundle.digest) == (bundle.prefix, build, program_digest(bundle.path))
    assert (log.board, log.clock_hz, log.flags) == ("Bench 3", 64_000_000, "-O2 from RAM")
    assert log.bits[0].bins == 100 and log.bits[0].outputs == DIMS
    assert [one.features for one in log.bits] == (["none", "equal", "equal"] if bundle.frontend else ["none"] * 3)
    assert ("lang" in log.compiler) == (compiler == "zig")
    assert why_no_measurement(log) == "no counter; bits alone were checked" and log.regions == ()


def test_no_build_is_left_out() -> None:
    bare = set(builds()) - set(linux_builds())
    assert {name: get_target(part).build for name, part in TARGETS.items()} == {name: name for name in bare}


def test_a_counter_that_stands_still_is_found_out(lfp: Bundle, tmp_path: Path) -> None:
    target = get_target("cortex-m4")
    needs_emulator(target)
    log = parse_log(run(by_zig(lfp, target, tmp_path / "build", ["-UREALM_LFP_SELFTEST_COUNTER"]), target).log, "log")
    assert (log.counter.asked, log.counter.name, log.agrees) == ("dwt", "none", True)  # QEMU has no DWT
    assert why_no_measurement(log) == "no counter: dwt did not move; bits alone were checked"


COUNTING = """
#include <stdint.h>
static uint32_t ticks;
static inline uint32_t count_up(void) { ticks += 300; return ticks & 0xFFFFu; }
#define {0}_SELFTEST_CYCLES() count_up()
#define {0}_SELFTEST_CYCLES_MASK 0xFFFFu
static int pins;
#define {0}_SELFTEST_MARK(on) (pins += (on))
"""


def test_regions_are_visited_as_the_bundle_has_it_and_times_are_differences_modulo_the_mask(lfp: Bundle, tmp_path: Path) -> None:
    target = get_target("cortex-m4")
    needs_emulator(target)
    (tmp_path / "mine.h").write_text(COUNTING.replace("{0}", "REALM_LFP"))
    flags = ["-UREALM_LFP_SELFTEST_COUNTER", f'-DREALM_LFP_SELFTEST_CONFIG="{tmp_path}/mine.h"']
    log = parse_log(run(by_zig(lfp, target, tmp_path / "build", flags), target).log, "log")
    assert (log.counter.name, log.counter.mask, log.counter.overhead, log.counter.least) == ("own", 0xFFFF, 300, 300)
    whole = {line.stage: line.visits for line in log.regions if not line.symbol}
    assert whole == {"model": 100 * lfp.blocks_per_bin, "frontend": 100 * lfp.blocks_per_bin, "decoder": 100}
    calls = [(line.stage, line.symbol) for line in log.regions if line.symbol]
    assert calls == [(name, kernel.symbol) for name, stage in lfp.named_stages.items() for kernel in stage.kernels]
    # The counter moves by 300 at each look, and wraps: every difference is 300, but those of a visit with looks inside.
    for line in log.regions:
        assert (line.least, line.most, line.sum) == (300, 300, 300 * line.visits), line


def damaged(bundle: Bundle, folder: Path, part: str, pattern: str, new: str) -> Bundle:
    """A copy in which the first match within a file is another."""
    shutil.copytree(bundle.path, folder)
    path = folder / part
    text, times = re.subn(pattern, new, path.read_text(), count=1)
    assert times == 1
    path.write_text(text)
    return replace(load_bundle(folder), path=folder)


def test_a_wrong_weight_a_wrong_output_and_a_wrong_front_end_are_told_apart(lfp: Bundle, tmp_path: Path) -> None:
    target = get_target("cortex-m4")
    needs_emulator(target)
    rows = re.findall(r"^    \{(-?\d+), (-?\d+)\},?$", (lfp.path / "selftest/realm_lfp_selftest.c").read_text(), flags=re.M)
    assert len(rows) == 100
    third = rf"(?<=    \{{{rows[2][0]}, ){rows[2][1]}(?=\}})"
    wrong = damaged(lfp, tmp_path / "output", "selftest/realm_lfp_selftest.c", third, str(int(rows[2][1]) ^ 1))
    ran = run(by_zig(wrong, target, tmp_path / "a"), target)
    log = parse_log(ran.log, "log")
    assert ran.status == 1 and not log.agrees and log.weights
    for one in log.bits:
        assert (one.wrong, one.bin, one.output, one.got, one.expected) == (1, 2, 1, int(rows[2][1]), int(rows[2][1]) ^ 1)
    assert [one.features for one in log.bits] == ["none", "equal", "equal"]
    # A weight of the decoder: the checksum says so, and the features still agree.
    source = "src/realm_lfp_decoder_weights.c"
    flipped = damaged(lfp, tmp_path / "weight", source, r"(_final_norm_weight\[\d+\] = \{[^\n]*\n    )-?\d+", r"\g<1>77")
    log = parse_log(run(by_zig(flipped, target, tmp_path / "b"), target).log, "log")
    assert not log.weights and log.bits[0].wrong > 0 and log.bits[1].features == "equal"
    # A filter of the front end.
    source = "src/realm_lfp_frontend_weights.c"
    flipped = damaged(lfp, tmp_path / "filter", source, r"(= \{[^\n]*\n    )-?\d+", r"\g<1>12345")
    log = parse_log(run(by_zig(flipped, target, tmp_path / "c"), target).log, "log")
    assert not log.weights and log.bits[1].features == "differ"


def test_input_reaches_from_the_rails_to_silence_and_no_two_bins_are_alike() -> None:
    extent = Extent(CHANNELS, TICKS)
    samples = make_input(extent).reshape(extent.bins, TICKS, CHANNELS)
    assert samples.dtype == np.int16 and extent.bins == 100 and extent.reset_bin == 75
    sizes = np.abs(samples.astype(int)).max((1, 2))
    assert sizes.max() > 20_000 and sizes.min() < 300
    assert len({row.tobytes() for row in samples}) == extent.bins
    assert samples[0, 0, :3].tolist() == make_input(Extent(CHANNELS, 10))[0, :3].tolist()  # what a bin begins with depends on nothing else


@pytest.mark.parametrize(("ticks", "bins", "blocks"), [(1, 100, 1), (20, 100, 1), (40, 60, 2), (600, 16, 4)])
def test_so_much_input_as_a_small_core_runs_within_seconds(ticks: int, bins: int, blocks: int) -> None:
    extent = Extent(32, ticks)
    assert (extent.bins, extent.blocks) == (bins, blocks)
