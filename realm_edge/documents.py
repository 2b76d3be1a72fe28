"""JSON that is read by others, or by later versions: each object says what it is and what made it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realm_edge.errors import UserError
from realm_edge.files import read_json, write_json
from realm_edge.versions import versions_of


def header(form: str, packages: Sequence[str] = ()) -> dict[str, Any]:
    """{"format", "made_by"}: what comes first in a document.

    Args:
        form: what it is, with the version of its fields: "realm-edge calibration/1".
        packages: whose versions decide what is in it.
    """
    return {"format": form, "made_by": versions_of(packages)}


def write_document(path: Path, form: str, content: Mapping[str, Any], packages: Sequence[str] = ()) -> None:
    """Write an object with its :func:`header`, atomically."""
    write_json(path, header(form, packages) | dict(content))


def read_document(path: Path, form: str, remedy: str) -> dict[str, Any]:
    """What :func:`write_document` wrote, without its header.

    Raises:
        UserError: missing, not JSON, or of another format; the message names both.
    """
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != form:
        raise UserError(f"{path}: it is {f'of format {found!r}' if found else 'of an earlier version'}, not '{form}': {remedy}")
    return {key: value for key, value in content.items() if key not in ("format", "made_by")}
