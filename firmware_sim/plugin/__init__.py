"""The counting plugin for QEMU, compiled once a machine and kept in the user's cache folder."""

import hashlib
import os
import platform
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

from firmware_sim.toolchain import zig_cc
from realm_edge.files import replacing


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/realm-edge``, by default ``~/.cache/realm-edge``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "realm-edge"


def plugin_library(folder: Path | None = None) -> Path:
    """Return the compiled plugin; compile it when ``folder`` (default: :func:`cache_folder`) holds none of this source.

    Two processes may compile at once: each writes its own file and renames it over the other's equal one.

    Raises:
        UserError: the host's compiler refused the source.
    """
    source = files("firmware_sim").joinpath("plugin/realm_count.c")
    key = hashlib.sha256(source.read_bytes() + f"{version('ziglang')} {platform.machine()}".encode()).hexdigest()[:16]
    library = (folder or cache_folder()) / f"realm_count-{key}.so"
    if not library.exists():
        with as_file(source) as path, replacing(library) as partial:
            zig_cc(["-shared", "-fPIC", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", path, "-o", partial], cwd=path.parent)
    return library
