"""Published implants and decoders, each with what its figure covers: ``data/systems.toml``."""

from functools import cache
from importlib.resources import files

from realm_edge.app.verdict.form import System
from realm_edge.toml_file import parse_toml, without_format

FORMAT = "realm-edge systems/1"


@cache
def systems() -> tuple[System, ...]:
    """All of them; those whose figures cover the same are beside one another. This project's own figures are not among them."""
    name = "data/systems.toml"
    content = files("realm_edge.app.verdict").joinpath(name).read_bytes()
    return tuple(System(**row) for row in without_format(parse_toml(content, name), FORMAT, name)["system"])
