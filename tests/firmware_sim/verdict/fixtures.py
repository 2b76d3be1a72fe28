"""Made-up counts for tests: the cycles of docs/power.md for LFP and spikes, and plain guesses for the rest. None was simulated as such."""

from typing import Any

from firmware_sim.budgets import Budget
from firmware_sim.ranges import RangedCase
from firmware_sim.targets import Target, get_target
from firmware_sim.verdict.candidate import Candidate, shipped
from firmware_sim.verdict.counts import Counts, Ends, Signal
from firmware_sim.verdict.link import Link, get_link
from firmware_sim.verdict.pricing import Priced, price

M4 = get_target("cortex-m4")
BLE = get_link("ble-nrf52840")
BUDGET = Budget("power_uw", 17241.0, "the default")
R2: dict[Signal, float | None] = {"lfp": 0.60, "lfp-200": 0.57, "sbp": 0.62, "spike": 0.61}
_SHAPE: dict[Signal, dict[str, Any]] = {
    "lfp": {"rate_hz": 500.0, "bandwidth_hz": 200.0, "features": 192, "ticks_per_bin": 10, "blocks_per_bin": 1},
    "lfp-200": {"rate_hz": 200.0, "bandwidth_hz": 90.0, "features": 160, "ticks_per_bin": 4, "blocks_per_bin": 1},
    "sbp": {"rate_hz": 2_000.0, "bandwidth_hz": 1_000.0, "features": 32, "ticks_per_bin": 40, "blocks_per_bin": 1},
    "spike": {"rate_hz": 30_000.0, "bandwidth_hz": 7_500.0, "features": 32, "ticks_per_bin": 600, "blocks_per_bin": 4},
}
_FRONTEND: dict[Signal, tuple[Ends, Ends]] = {  # all blocks of a bin, and the last of them
    "lfp": ((42_160, 44_608, 79_662), (42_160, 44_608, 79_662)),
    "lfp-200": ((15_000, 16_000, 28_000), (15_000, 16_000, 28_000)),
    "sbp": ((30_000, 32_000, 56_000), (30_000, 32_000, 56_000)),
    "spike": ((395_346, 408_486, 697_102), (99_033, 102_324, 174_620)),
}
_DECODER: dict[Signal, Ends] = {
    "lfp": (62_098, 85_747, 139_551),
    "lfp-200": (58_000, 80_000, 130_000),
    "sbp": (55_665, 75_714, 122_858),
    "spike": (55_665, 75_714, 122_858),
}


def counts(signal: Signal, frontend: bool, target: Target = M4, **changes: Any) -> Counts:
    """Of 32 channels, in bins of 20 ms."""
    shape = _SHAPE[signal] if frontend else _SHAPE[signal] | {"ticks_per_bin": 1, "blocks_per_bin": 1}
    all_blocks, last = _FRONTEND[signal] if frontend else ((0, 0, 0), (0, 0, 0))
    found = {
        "signal": signal,
        "channels": 32,
        "target": target.name,
        "frontend": frontend,
        "fits": True,
        "text": "made up for a test",
        "output_values": 2,
        "bin_s": 0.02,
        "delay_s": 0.03,
        "flash_bytes": 100_000,
        "ram_bytes": 60_000,
        "frontend_cycles": all_blocks,
        "last_block_cycles": last,
        "decoder_cycles": _DECODER[signal],
        "send_cycles": (50, 50, 50),
        "loop_cycles": (36, 44, 132),
    }
    return Counts.model_validate(found | shape | changes)


def candidate(name: str) -> Candidate:
    return next(each for each in shipped() if each.name == name)


def priced(name: str, target: Target = M4, link: Link = BLE, **changes: Any) -> Priced:
    """A shipped scenario with the made-up counts."""
    chosen = candidate(name)
    return price(chosen, counts(chosen.signal, chosen.frontend == "software", target, **changes), target, link)


def case(name: str, target: Target = M4, link: Link = BLE, **changes: Any) -> RangedCase:
    found = priced(name, target, link, **changes).case
    assert found is not None
    return found


def every(target: Target = M4, link: Link = BLE) -> list[Priced]:
    return [priced(each.name, target, link) for each in shipped()]
