"""What changes in an implant's flash when a decoder gives way to another: constants, and code where kernels differ."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.elf import Loaded, loaded


@dataclass(frozen=True)
class Change:
    """Bytes of a model's firmware, the new one's."""

    code: int
    changed_code: int  # in sections that the old firmware does not have as they are
    changed_constants: int  # likewise


def change(old: Path, new: Path, prefix: str) -> Change:
    """Compare two builds of one target, section by section of their objects: a function or a constant is a section of its own.

    Args:
        old, new: folders that :func:`firmware_sim.build.build_firmware` made, of models with the same ``prefix``.

    Raises:
        UserError: an object cannot be read.
    """
    before, after = _sections(old, prefix), _sections(new, prefix)
    changed = [section for name, section in after.items() if before.get(name) != section]
    return Change(code=_bytes(after.values(), True), changed_code=_bytes(changed, True), changed_constants=_bytes(changed, False))


def _bytes(sections: Iterable[Loaded], code: bool) -> int:
    return sum(len(section.content) for section in sections if section.is_code == code)


def _sections(folder: Path, prefix: str) -> dict[tuple[str, str], Loaded]:
    """By object and section; without the main loop and the board, which are not the model's."""
    objects = [*folder.glob(f"{prefix}*.o"), *(folder / "tvm").glob("*.o")]
    return {(path.name, name): section for path in sorted(objects) for name, section in loaded(path).items()}
