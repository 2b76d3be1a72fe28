"""JSON that is read by others, or by later versions: each object says what it is and what made it, and its fields are those of a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, WithJsonSchema

from realm_edge.errors import UserError
from realm_edge.files import read_json, write_json
from realm_edge.settings import flaw
from realm_edge.versions import versions_of

T = TypeVar("T")
# A whole number stays one: what is read and written again has the same bytes.
Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


class Form(BaseModel):
    """A JSON object with these fields and no others. One that has a default may be absent, and is where it was not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def given(self) -> dict[str, Any]:
        """The fields that were given, by name, for a form that has more of them."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


def jsonable(value: Any) -> Any:
    """Forms, dataclasses and tuples, also within lists and dicts, as what JSON has."""
    return _ANYTHING.dump_python(value, mode="json", by_alias=True, exclude_unset=True)


def formed(kind: type[T], content: Any, path: Path, remedy: str) -> T:
    """What was read from ``path`` as a form, or as a dict or tuple of forms.

    Raises:
        UserError: a field is missing, unknown or not what it should be; the message names the first.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise UserError(f"{path}: {flaw(error, 'its content')}: {remedy}") from error


def header(form: str, packages: Sequence[str] = ()) -> dict[str, Any]:
    """{"format", "made_by"}: what comes first in a document.

    Args:
        form: what it is, with the version of its fields: "realm-edge calibration/1".
        packages: whose versions decide what is in it.
    """
    return {"format": form, "made_by": versions_of(packages)}


def write_document(path: Path, form: str, content: Any, packages: Sequence[str] = ()) -> None:
    """Write a :class:`Form`, or a dict, with its :func:`header`, atomically."""
    write_json(path, header(form, packages) | jsonable(content))


def read_document(path: Path, form: str, kind: type[T], remedy: str) -> T:
    """What :func:`write_document` wrote, without its header.

    Raises:
        UserError: missing, not JSON, of another format (the message names both), or not as :func:`formed` wants it.
    """
    content = read_json(path)
    found = content.get("format") if isinstance(content, dict) else None
    if found != form:
        raise UserError(f"{path}: it is {f'of format {found!r}' if found else 'of an earlier version'}, not '{form}': {remedy}")
    return formed(kind, {key: value for key, value in content.items() if key not in ("format", "made_by")}, path, remedy)
