"""Numbers as people read them. Light to import."""


def format_number(value: float | None) -> str:
    """A number for people: thousands separated, three significant digits below 100; an en dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
