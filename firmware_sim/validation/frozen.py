"""Which tables were frozen with which content, and which programs were written afterwards."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from realm_edge.files import sha256_json

SECTIONS = {"cycles": ("cycles",), "wait_states": ("fetch", "access")}


@cache
def lock() -> dict[str, Any]:
    """``frozen.toml``: by part of the tables (:data:`SECTIONS`), ``tables`` {core: hash} and ``programs``, the sources that existed when
    that part was frozen."""
    return tomllib.loads(files("firmware_sim").joinpath("validation/frozen.toml").read_text(encoding="utf-8"))


def table_hash(core: str, part: str) -> str:
    """SHA-256 of a part of a core's table, as JSON."""
    table = tomllib.loads(files("firmware_sim").joinpath(f"cores/{core}.toml").read_text(encoding="utf-8"))
    return sha256_json({section: table[section] for section in SECTIONS[part]})


def written_after_freeze(source: str, part: str) -> bool:
    """Whether a program was written when that part of the tables was already frozen."""
    return source not in lock()[part]["programs"]
