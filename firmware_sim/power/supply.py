"""From the battery to a part's rail."""

import numpy as np

from firmware_sim.components import Components, Quantity
from firmware_sim.power.scenario import Scenario
from firmware_sim.targets import Target


def rail_v(target: Target, components: Components) -> Quantity:
    """The rail at which the part's figures hold: its own, or the battery's."""
    return components.value(target.components.rail or "supply.battery", "V")


def losses_uw(drawn_uw: Quantity, target: Target, scenario: Scenario, components: Components) -> Quantity:
    """What is lost on the way to a part that draws ``drawn_uw`` at its rail.

    A switching converter hands on a share of the power. A linear regulator hands on the current, and so the rail's share of the voltage.
    """
    if target.components.rail is None:
        return 0.0 * drawn_uw
    share = rail_v(target, components) / components.value("supply.battery", "V")
    handed_on = share if scenario.supply == "ldo" else components.value("supply.converter", "")
    return np.where(share < 1.0, drawn_uw * (1.0 / handed_on - 1.0), 0.0)
