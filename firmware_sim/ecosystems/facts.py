"""What build systems of others call the core of a build: ``data/ecosystems.toml``."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Facts:
    """One table of ``data/ecosystems.toml``, which says what each is; empty where there is nothing of the kind."""

    zephyr: str = ""
    zephyr_board: str = ""
    arduino: tuple[str, ...] = ()
    platformio: tuple[str, ...] = ()
    esp_idf: tuple[str, ...] = ()
    gcc: str = ""
    flags: tuple[str, ...] = ()


def facts_of(build: str) -> Facts:
    """Of a build, an entry of :func:`firmware_sim.builds.builds`; of one that runs Linux there are none."""
    return _all().get(build, Facts())


@cache
def _all() -> dict[str, Facts]:
    tables = tomllib.loads(files("firmware_sim").joinpath("data/ecosystems.toml").read_text(encoding="utf-8"))
    return {build: _facts(table) for build, table in tables.items()}


def _facts(table: dict[str, Any]) -> Facts:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Facts(**given)
