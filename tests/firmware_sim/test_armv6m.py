"""The check that code for a Cortex-M0+ is ARMv6-M, over kernels that TVM built and over encodings by hand."""

import pytest

from export.stepgraph import save_model
from firmware_sim.compiler.armv6m import check_armv6m, is_armv6m
from firmware_sim.compiler.bundle import write_bundle
from realm_edge.errors import UserError
from tests.firmware_sim import compiled_graphs


@pytest.mark.parametrize(
    ("halves", "allowed"),
    [
        ((0x1C4A, 0), True),  # adds r2, r1, #1
        ((0xF000, 0xF800), True),  # bl
        ((0xF3BF, 0x8F4F), True),  # dsb
        ((0xF3BF, 0x8F5F), True),  # dmb
        ((0xF3BF, 0x8F6F), True),  # isb
        ((0xF3EF, 0x8010), True),  # mrs r0, primask
        ((0xF380, 0x8810), True),  # msr primask, r0
        ((0xBF30, 0), True),  # wfi
        ((0xBEAB, 0), True),  # bkpt
        ((0xB108, 0), False),  # cbz
        ((0xB908, 0), False),  # cbnz
        ((0xBF18, 0), False),  # it ne
        ((0xFB01, 0xF002), False),  # mul.w
        ((0xF240, 0x0001), False),  # movw
        ((0xF000, 0x8000), False),  # b.w, conditional
        ((0xE8D1, 0xF000), False),  # tbb
        ((0xF3BF, 0x8F2F), False),  # clrex
    ],
)
def test_encodings_by_hand(halves, allowed):
    assert is_armv6m(*halves) == allowed


@pytest.mark.slow
def test_kernels_for_a_cortex_m0plus_are_armv6m_and_those_for_a_cortex_m4_are_not(tmp_path):
    save_model(compiled_graphs.decoder(), tmp_path / "decoder.onnx")
    for build in ("cortex-m0plus", "cortex-m4"):
        write_bundle(tmp_path / build, "spike", build, None, tmp_path / "decoder.onnx")
    objects = sorted((tmp_path / "cortex-m0plus/lib").glob("*.o"))
    assert sum(check_armv6m(path) for path in objects) > 1000
    with pytest.raises(UserError, match=r"\.o: section \.text\S* [0-9a-f ]+ at 0x[0-9a-f]+ is no ARMv6-M instruction"):
        for path in sorted((tmp_path / "cortex-m4/lib").glob("*.o")):
            check_armv6m(path)
