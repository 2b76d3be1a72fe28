"""MLPerf Tiny's 'ad' network through this project's kernels: what docs/cycles-cortex-m.md holds beside the boards."""

import pytest

from firmware_sim.targets import get_target
from tests.benchmarks.bench_mlperf_ad import MACS, autoencoder, simulate


@pytest.mark.slow
def test_the_network_runs_on_the_cortex_m0plus_near_what_the_doc_says(tmp_path):
    result = simulate("stm32g0b1", autoencoder(), tmp_path)
    step = result.regions["decoder"]
    assert result.bit_exact and result.macs_per_step == MACS
    assert get_target("stm32g0b1").flash.prefetch
    assert 0 == step.stalls.low < step.stalls.cycles < step.stalls.high
    plain = step.cycles.plus(step.stalls.times(-1))
    assert [round(cycles / MACS, 1) for cycles in (plain.cycles, step.cycles.cycles)] == [5.5, 7.2]
