"""Which channels the electrodes table of an NWB 2 file calls bad.

NWB has no standard column for it. The rule: every column with one of the names below, whatever its case, is heard, and a channel
is good unless one of them condemns it. Cells are true or false, 1 or 0, or one of the words below.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError

_CONDEMNS_WHEN = {  # column name -> what its cell is for a bad channel
    **dict.fromkeys(("bad", "is_bad", "bad_channel", "is_bad_channel", "reject", "rejected", "exclude", "excluded", "noisy"), True),
    **dict.fromkeys(("good", "is_good", "good_channel", "is_good_channel", "valid", "is_valid"), False),
}
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


def good_channels(electrodes: Any, channels: int, label: str) -> tuple[NDArray[np.bool_], list[str]]:
    """Read the mask.

    Args:
        electrodes: the series' ``DynamicTableRegion`` into the electrodes table; one row per channel.
        channels: of the series.
        label: file and series, for messages.

    Returns:
        ``(channels,)``, True where the channel is good, and the names of the columns that were heard.

    Raises:
        UserError: the series names other than one electrode per channel where there is a mask, or a cell is neither true nor false.
    """
    good = np.ones(channels, bool)
    table = electrodes.table
    columns = [name for name in table.colnames if name.lower() in _CONDEMNS_WHEN]
    if not columns:
        return good, []
    rows = np.asarray(electrodes.data[:], np.int64)
    if len(rows) != channels:
        raise UserError(f"{label}: it has {channels} channels and names {len(rows)} electrodes: correct the file, or drop {columns[0]}")
    for name in columns:
        condemns = _CONDEMNS_WHEN[name.lower()]
        for channel, row in enumerate(rows):
            good[channel] &= _truth(table[name][int(row)], f"{label}: electrode {row}: column '{name}'") != condemns
    return good, columns


def _truth(cell: Any, label: str) -> bool:
    if isinstance(cell, bool | np.bool_):
        return bool(cell)
    text = str(cell.decode() if isinstance(cell, bytes) else cell).strip().lower().removesuffix(".0")
    if text not in _WORDS:
        raise UserError(f"{label} is {cell!r}, neither true nor false: correct or drop the column")
    return _WORDS[text]
