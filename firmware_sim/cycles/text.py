"""A profile as lines for the terminal."""

from collections.abc import Iterator

from firmware_sim.cycles.form import CyclesProfile
from firmware_sim.targets import Target

MOST_ROWS = 30


_COUNTS = f"{'with callees':>13} {'calls':>8} {'instructions':>13}"
_FUNCTIONS = f"{'cycles':>12} {'low':>12} {'high':>12} {'stalls':>10} {'share':>7} {_COUNTS}  function"
_REGIONS = f"{'cycles':>12} {'stalls':>10} {'share':>7} {'visits':>8} {'half within':>12} {'longest':>12}  region"


def lines(profile: CyclesProfile, target: Target) -> Iterator[str]:
    """Totals, what they rest on, functions and regions."""
    total = profile.total
    span = f"from {profile.entry} to {_end(profile)}"
    yield f"{profile.program} on {profile.part} ({profile.target}, {profile.clock_hz / 1e6:g} MHz), {span}"
    yield (
        f"{total.cycles:,.0f} cycles ({total.cycles_low:,.0f} to {total.cycles_high:,.0f}), "
        f"{total.cycles / profile.clock_hz * 1e3:.3g} ms, {total.instructions:,} instructions"
    )
    if target.flash.wait_states:
        assumed = f" (assumed: {', '.join(target.assumed)})" if target.assumed else ""
        yield f"of them {total.stall_cycles:,.0f} are stalls by {target.flash.wait_states} wait states of the flash{assumed}"
    yield f"{profile.core}: {profile.label}; {profile.validation}"
    if profile.stepped:
        yield "interrupts came in between: at the same places in each run, at others on a part; they count as called by whom they interrupt"
    yield ""
    yield _FUNCTIONS
    for row in profile.functions[:MOST_ROWS]:
        yield (
            f"{row.cycles:>12,.0f} {row.cycles_low:>12,.0f} {row.cycles_high:>12,.0f} {row.stall_cycles:>10,.0f} "
            f"{row.cycles / max(total.cycles, 1):>7.1%} {row.cycles_with_callees:>13,.0f} {row.calls:>8,} {row.instructions:>13,}  "
            f"{row.name}"
        )
    rest = profile.functions[MOST_ROWS:]
    if rest:
        yield f"{sum(row.cycles for row in rest):>12,.0f} cycles in {len(rest)} more functions; --json has them all"
    if profile.regions:
        yield ""
        yield _REGIONS
    for region in profile.regions:
        yield (
            f"{region.cycles:>12,.0f} {region.stall_cycles:>10,.0f} {region.cycles / max(total.cycles, 1):>7.1%} {region.visits:>8,} "
            f"{region.median_cycles:>12,.0f} {region.longest_cycles:>12,.0f}  {region.name}"
        )


def _end(profile: CyclesProfile) -> str:
    if profile.until is None:
        return "its end"
    return profile.until if profile.times == 1 else f"{profile.until}, reached {profile.times} times"
