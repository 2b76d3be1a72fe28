"""How much memory is free, so that what is too large is refused before it is allocated: the system would end the process without a word."""

import os
import re
from pathlib import Path

from realm_edge.errors import UserError

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # a container's own limits


def free_bytes() -> int:
    """Memory that this process can still take: what the system and the container have free; all there is where neither says."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if _MEMINFO.is_file() and (available := re.search(r"^MemAvailable: *(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)):
        free = min(free, int(available[1]) * 1024)
    limit, used = (_CGROUP / f"memory.{name}" for name in ("max", "current"))
    if limit.is_file() and used.is_file() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def check_free(needed: int, free: int, what: str, remedy: str) -> None:
    """Refuse what needs more memory than is free.

    Args:
        needed: bytes.
        free: bytes, :func:`free_bytes` or a GPU's.
        what: begins the message.
        remedy: ends it.

    Raises:
        UserError: naming both numbers.
    """
    if needed > free:
        raise UserError(f"{what} needs about {needed / 1e9:,.1f} GB of memory, and {max(free, 0) / 1e9:,.1f} GB are free: {remedy}")
