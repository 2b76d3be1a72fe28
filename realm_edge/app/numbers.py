"""Numbers as people read them. Light to import."""


def format_number(value: float | None) -> str:
    """A number for people: thousands separated, three significant digits below 100; an en dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def format_ends(ends: tuple[float | None, float | None]) -> str:
    """A range whose ends are None where nothing fits: "12 to 30", "12, or does not fit"; an en dash where both are."""
    low, high = ends
    if high is None:
        return "–" if low is None else f"{format_number(low)}, or does not fit"
    return format_number(high) if low == high else f"{format_number(low)} to {format_number(high)}"


def format_share(share: float | None) -> str:
    """A share of draws in whole percent. Only all of them are 100 %, and only none 0 %."""
    if share is None:
        return "–"
    if share > 0.99 and share < 1:
        return "> 99 %"
    if share < 0.01 and share > 0:
        return "< 1 %"
    return f"{100 * share:.0f} %"
