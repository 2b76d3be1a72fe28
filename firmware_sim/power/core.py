"""The microcontroller's second: DMA blocks, waking up, computing, sleeping; and what that draws at the part's rail."""

from dataclasses import dataclass

import numpy as np

from firmware_sim.components import Components, Quantity
from firmware_sim.power.scenario import Scenario
from firmware_sim.targets import Target
from firmware_sim.workload import Workload
from realm_edge.errors import UserError


@dataclass(frozen=True)
class Activity:
    """A bin in the steady state."""

    required_hz: Quantity  # clock that the cycles need
    duty: Quantity  # share of the time awake, waking up included
    wakeups_per_s: Quantity
    compute_s: Quantity  # from the last sample of a bin to its output


def activity(workload: Workload, target: Target, components: Components) -> Activity:
    """Serve the DMA blocks one after another; the core sleeps whenever none waits.

    Two bins are played and the second is counted: it begins with what the one before left over, as all later ones do.
    """
    w, clock = workload, float(target.clock_hz)
    interrupt = components.value(target.components.interrupt, "cycles")
    wakeup_s = components.value(target.components.wakeup, "s")
    block_s = w.bin_s / w.blocks_per_bin
    plain = (w.frontend_cycles - w.last_block_cycles) / max(1, w.blocks_per_bin - 1)
    busy_until: Quantity = 0.0
    active: Quantity = 0.0
    wakeups: Quantity = 0.0
    for k in range(2 * w.blocks_per_bin):
        if k == w.blocks_per_bin:
            active, wakeups = 0.0, 0.0
        arrival = (k + 1) * block_s
        sleeps = busy_until <= arrival  # else it is still at work on the block before, and need not wake up
        cycles = interrupt + w.loop_cycles / w.blocks_per_bin
        cycles = cycles + (w.last_block_cycles + w.decoder_cycles if (k + 1) % w.blocks_per_bin == 0 else plain)
        busy_until = np.where(sleeps, arrival + wakeup_s, busy_until) + cycles / clock
        active = active + np.where(sleeps, wakeup_s, 0.0) + cycles / clock
        wakeups = wakeups + np.where(sleeps, 1.0, 0.0)
    bin_cycles = w.frontend_cycles + w.decoder_cycles + w.loop_cycles + w.blocks_per_bin * interrupt
    return Activity(
        required_hz=bin_cycles / w.bin_s,
        duty=np.minimum(active / w.bin_s, 1.0),
        wakeups_per_s=wakeups / w.bin_s,
        compute_s=busy_until - 2 * w.bin_s,
    )


def active_uw(duty: Quantity, target: Target, scenario: Scenario, components: Components) -> Quantity | None:
    """Mean power of being awake; None where no figure of the part is known.

    Raises:
        UserError: linear regulators are chosen, and the part's figure is that of its switching converter.
    """
    name = target.components.active
    if name is None:
        return None
    if scenario.supply == "ldo" and target.components.rail is None:
        if target.components.active_ldo is None:
            raise UserError(f"{target.part}: no figure with its linear regulator: choose the switching converter, or another target")
        name = target.components.active_ldo
    return duty * target.clock_hz * components.value(name, "uJ/cycle")


def sleep_uw(duty: Quantity, target: Target, scenario: Scenario, components: Components) -> Quantity | None:
    """Mean power of sleep; None where no figure of the part is known."""
    name = target.components.sleep if scenario.fifo else target.components.sleep_dma
    return None if name is None else (1.0 - duty) * components.value(name, "uW")
