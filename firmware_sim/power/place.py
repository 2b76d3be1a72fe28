"""Heat and supply by place: what an implant's power warms where it lies (docs/power.md)."""

from typing import Literal

from firmware_sim.budgets import State
from realm_edge.documents import Form, Number

Place = Literal["cortex", "skull", "chest"]
Supply = Literal["battery", "inductive", "ultrasonic"]


class Heat(Form):
    """An implant's heat at one place, with one supply, against one limit. None: no figure with a source is known."""

    place: Place
    supply: Supply
    limit: str  # "1 degC", "2 degC", "40 mW/cm2"
    heat_uw: Number | None  # that is turned to heat at this place, the supply's losses there included
    heat_uw_range: tuple[Number | None, Number | None]
    limit_uw: Number | None
    state: State | None
    text: str
    source: str
    confidence: str
