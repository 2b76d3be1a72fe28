"""Templates of ``templates/`` as text of files."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template, whose name starts at ``firmware_sim/ecosystems/templates``.

    Raises:
        jinja2.UndefinedError: it asks for a value that was not given.
    """
    return _environment().get_template(f"{template}.j2").render(values)


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("firmware_sim.ecosystems", package_path="templates")
    return jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
