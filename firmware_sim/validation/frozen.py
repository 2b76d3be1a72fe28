"""Which tables were frozen with which content, and which programs were written afterwards."""

import hashlib
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def lock() -> dict[str, Any]:
    """``frozen.toml``: ``tables`` {core: SHA-256 of its file} and ``programs``, the sources that existed when the tables were frozen."""
    return tomllib.loads(files("firmware_sim").joinpath("validation/frozen.toml").read_text(encoding="utf-8"))


def table_hash(core: str) -> str:
    """SHA-256 of a core's table."""
    return hashlib.sha256(files("firmware_sim").joinpath(f"cores/{core}.toml").read_bytes()).hexdigest()


def written_after_freeze(source: str) -> bool:
    """Whether a program was written when the tables were already frozen."""
    return source not in lock()["programs"]
