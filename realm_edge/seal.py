"""JSON objects that hold the SHA-256 of the rest of them, so that an edit is found where they are read."""

from collections.abc import Mapping
from typing import Any

from realm_edge.files import sha256_json

KEY = "digest"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-able object with its digest."""
    return {**content, KEY: sha256_json(dict(content))}


def is_intact(read: Mapping[str, Any]) -> bool:
    """Whether an object that was read is one that :func:`sealed` made."""
    try:
        return bool(read.get(KEY) == sha256_json({key: value for key, value in read.items() if key != KEY}))
    except ValueError:  # NaN, which nobody writes
        return False
