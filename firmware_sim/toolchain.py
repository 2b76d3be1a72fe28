"""The C compiler and linker: ``python -m ziglang cc``."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from realm_edge.errors import UserError


def zig_cc(arguments: Sequence[str | Path], cwd: Path) -> None:
    """Run ``zig cc`` in ``cwd``.

    Raises:
        UserError: it ended with an error; the message holds the first thing that it complained about.
        OSError: there was no space for its files.
    """
    command = [sys.executable, "-m", "ziglang", "cc", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if "No space left on device" in done.stderr:  # of TMPDIR or the compiler's cache: it says which file only sometimes
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}, no message"]
        first = next((line for line in lines if "error" in line or "No module" in line), lines[-1])
        raise UserError(
            f"{cwd}: the compiler (python -m ziglang cc) failed: {first.strip()}; rerun 'realm-edge compile', or see 'realm-edge doctor'"
        )
