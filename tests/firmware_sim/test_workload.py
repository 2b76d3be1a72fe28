from dataclasses import replace

import numpy as np
import pytest

from firmware_sim.workload import CYCLES, WorkloadRange, buffer_bytes
from tests.firmware_sim.round_figures import WORK


def by(factor: float):
    return replace(WORK, **{name: getattr(WORK, name) * factor for name in CYCLES})


RANGE = WorkloadRange(by(0.8), WORK, by(1.5))


def test_the_adc_buffer_holds_a_bin_and_the_block_in_flight():
    assert buffer_bytes(WORK) == 25 * 32 * 2
    assert buffer_bytes(replace(WORK, ticks_per_bin=5, blocks_per_bin=1)) == 10 * 32 * 2


def test_all_cycles_move_together():
    assert set(CYCLES) == {"frontend_cycles", "last_block_cycles", "decoder_cycles", "loop_cycles"}
    assert RANGE.at(0.0) == WORK
    for position, factor in ((-1.0, 0.8), (-0.5, 0.9), (0.5, 1.25), (1.0, 1.5)):
        for name in CYCLES:
            assert getattr(RANGE.at(position), name) == pytest.approx(getattr(WORK, name) * factor)
    np.testing.assert_allclose(RANGE.at(np.array([-1.0, 0.0, 1.0])).decoder_cycles, [320_000, 400_000, 600_000])


def test_behind_a_detector_counts_come_in_once_a_bin():
    found = RANGE.behind_detector()
    assert found.nominal == replace(WORK, ticks_per_bin=1, blocks_per_bin=1, frontend_cycles=0.0, last_block_cycles=0.0, source="detector")
    assert (found.low.decoder_cycles, found.high.decoder_cycles) == (320_000, 600_000)
