"""The C compiler, linker and archiver: ``python -m ziglang``."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from realm_edge.errors import UserError

_FAULTS = {  # what zig, clang and LLVM call errors of the system
    errno.ENOSPC: ("NoSpaceLeft", "No space left on device"),
    errno.EDQUOT: ("DiskQuota", "Disk quota exceeded"),
    errno.EFBIG: ("FileTooBig", "File too large"),
    errno.EROFS: ("ReadOnlyFileSystem", "Read-only file system"),
    errno.EACCES: ("AccessDenied", "Permission denied"),
}
_CUT_SHORT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # after which a file is not whole, whatever the status
_PLACE = re.compile(r"\"(/[^\"]+)\"| to (/\S+): ")


def zig_cc(arguments: Sequence[str | Path], cwd: Path) -> None:
    """Run ``zig cc`` in ``cwd``; errors as :func:`zig`."""
    zig(["cc", *arguments], cwd)


def zig(arguments: Sequence[str | Path], cwd: Path) -> None:
    """Run one of zig's tools in ``cwd``.

    Raises:
        UserError: it ended with an error; the message holds the first thing that it complained about.
        OSError: its files found no place; where zig names none, the error has none.
    """
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    fault = _fault(done.stderr)
    if fault is not None and (done.returncode or fault.errno in _CUT_SHORT):
        raise fault
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}, no message"]
        first = next((line for line in lines if "error" in line or "No module" in line), lines[-1])
        raise UserError(
            f"{cwd}: 'python -m ziglang {arguments[0]}' failed: {first.strip()}; rerun 'realm-edge compile', or see 'realm-edge doctor'"
        )


def _fault(said: str) -> OSError | None:
    """The first error of the system that a tool told of."""
    for line in said.splitlines():
        for number, names in _FAULTS.items():
            if any(name in line for name in names):
                place = _PLACE.search(line)
                where = (place[1] or place[2],) if place else ()
                return OSError(number, os.strerror(number), *where)
    return None
