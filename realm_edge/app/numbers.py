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
