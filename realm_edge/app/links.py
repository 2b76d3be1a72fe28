"""Links in the directory of a run: what a command writes there, and reads, stays there."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from realm_edge.errors import UserError


def require_inside(path: Path, names: Sequence[str]) -> None:
    """See that no link leads out of a directory: a run may come from somebody else, and to follow one is to write to the user's files.

    Args:
        names: patterns of the entries that are looked at, with all that is in them.

    Raises:
        UserError: one does.
    """
    inside = os.path.realpath(path)
    for entry in sorted(path.iterdir()):
        if not any(fnmatch(entry.name, name) for name in names):
            continue
        for each in (entry, *_within(entry)):
            if each.is_symlink() and os.path.commonpath([inside, os.path.realpath(each)]) != inside:
                raise UserError(f"{each}: a link that leads out of the run: put what it names in its place, or choose another --out")


def _within(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):  # does not follow links
        for name in (*folders, *files):
            yield Path(here, name)
