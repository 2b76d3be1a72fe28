"""Forms of documents with those fields alone that a test is about."""

import dataclasses
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

from realm_edge.documents import Form


def loose(kind: Any, content: Any) -> Any:
    """Nested dicts as a form, or as a dict or tuple of forms.

    A field that is left out is missing, of a dataclass None; one that the form does not have is refused. What is no dict stays as it is.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) and isinstance(content, dict):
        fits = [one for one in inner if get_origin(one) is dict or set(content) <= set(_hints(one))]
        return loose(fits[0], content)
    if origin in (Union, types.UnionType) and isinstance(content, list | tuple):
        return loose(next(one for one in inner if get_origin(one) is tuple), content)
    if origin is dict and isinstance(content, dict):
        return {key: loose(inner[1], value) for key, value in content.items()}
    if origin is tuple and isinstance(content, list | tuple):
        return tuple(loose(inner[0] if inner[-1] is ... else inner[at], each) for at, each in enumerate(content))
    if not (hints := _hints(kind)) or not isinstance(content, dict):
        return content
    assert set(content) <= set(hints), f"{kind.__name__} has no {', '.join(sorted(set(content) - set(hints)))}"
    fields = {name: loose(hints[name], value) for name, value in content.items()}
    return kind.model_construct(**fields) if issubclass(kind, Form) else kind(**dict.fromkeys(hints) | fields)


def _hints(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, Form):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
