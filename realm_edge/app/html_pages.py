"""HTML pages of one file that need nothing from outside: how a template becomes one. All share ``page.css``."""

from collections.abc import Mapping
from typing import Any

import jinja2

from realm_edge.app.numbers import format_number


def render(template: str, values: Mapping[str, Any]) -> str:
    """The page of a template, whose name starts at ``realm_edge/app``. Text is escaped unless it is a ``Markup``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("realm_edge.app", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    return environment.get_template(template).render(values)
