"""The counting plugin for QEMU, compiled once a machine and plugin interface, and kept in the user's cache folder."""

import hashlib
import platform
import tempfile
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

from firmware_sim.toolchain import zig_cc
from realm_edge.files import cache_folder, remove_leftovers, write_bytes

# Versions of QEMU's plugin API to compile for, newest first. What the plugin uses is the same up to the next one:
# 1 is of QEMU up to 8.2, 2 of 9.0, 3 of 9.1 and later (they know 2 to 4 or 5), 7 of 11.1 (which knows no other).
INTERFACES = (7, 3, 2, 1)


def plugin_library(interface: int, folder: Path | None = None) -> Path:
    """Return the compiled plugin; compile it when ``folder`` (default: :func:`cache_folder`) holds none of this source.

    Two processes may compile at once: each writes its own file and renames it over the other's equal one.

    Args:
        interface: one of :data:`INTERFACES`.

    Raises:
        UserError: the host's compiler refused the source.
    """
    source = files("firmware_sim").joinpath("plugin/realm_count.c")
    key = hashlib.sha256(source.read_bytes() + f"{interface} {version('ziglang')} {platform.machine()}".encode()).hexdigest()[:16]
    library = (folder or cache_folder()) / f"realm_count-{key}.so"
    if not library.exists():
        flags = ["-shared", "-fPIC", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-DREALM_PLUGIN_API={interface}"]
        # Not in the cache itself: a compiler whose caller was killed goes on, and nobody would remove what it writes.
        with as_file(source) as path, tempfile.TemporaryDirectory(prefix="realm-edge-") as built:
            made = Path(built, library.name)
            zig_cc([*flags, path, "-o", made], cwd=path.parent)
            remove_leftovers(library.parent)
            write_bytes(library, made.read_bytes())
    return library
