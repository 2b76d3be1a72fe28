"""Bins of recordings that hold features: one per row, at whatever rate the features come."""

from pydantic import ValidationError

from realm_edge.errors import UserError
from realm_edge.settings import Settings, changed

SHORTEST_WINDOW = 50  # bins of a training window, where features come at a low rate
_SLOW_S = 1.0  # a bin; slower rows are stamps of another unit, likely
_MAX_DRIFT = 1e-3  # by which a bin may differ from whole milliseconds, or the bins of two recordings from each other


def window_bins(settings: Settings, bin_s: float) -> int:
    """Bins of a training window as long in seconds as the settings' is, where a bin lasts ``bin_s``."""
    return max(SHORTEST_WINDOW, round(settings.window_bins * settings.bin_ms / 1000 / bin_s))


def fitted(settings: Settings, bin_s: float, label: str) -> Settings:
    """``settings`` with bins of a recording, one per row, and windows of :func:`window_bins`.

    Args:
        label: file and series, for messages.

    Raises:
        UserError: a bin that is no whole number of milliseconds or goes ill with the other settings.
    """
    bin_ms = round(1000 * bin_s)
    if not is_bin(bin_s, bin_ms):
        raise UserError(f"{label}: a row every {1000 * bin_s:.6g} ms: bins last whole milliseconds: resample it")
    # Nothing is sensed at these rates, and settings hold only those of which a bin has a whole number.
    rates = {name: {"rate_hz": -(-rate // 1000) * 1000} for name, rate in _rates(settings).items() if rate * bin_ms % 1000}
    try:
        return changed(settings, {"bin_ms": bin_ms, "window_bins": window_bins(settings, bin_s), **rates})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        hint = ": are its time stamps in ms, us or ns? Store them in s" if bin_s > _SLOW_S else ""
        raise UserError(f"{label}: a row every {bin_ms} ms: {reason}{hint}") from error


def _rates(settings: Settings) -> dict[str, int]:
    return {"lfp": settings.lfp.rate_hz, "spike": settings.spike.rate_hz}


def is_bin(bin_s: float, bin_ms: int) -> bool:
    """Whether bins of ``bin_s`` count as bins of ``bin_ms``."""
    return abs(1000 * bin_s - bin_ms) <= _MAX_DRIFT * bin_ms
