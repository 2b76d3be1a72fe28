"""Shares of draws as people read them. Light to import."""


def format_share(share: float | None) -> str:
    """A share of draws in whole percent. Only all of them are 100 %, and only none 0 %."""
    if share is None:
        return "–"
    if share > 0.99 and share < 1:
        return "> 99 %"
    if share < 0.01 and share > 0:
        return "< 1 %"
    return f"{100 * share:.0f} %"
