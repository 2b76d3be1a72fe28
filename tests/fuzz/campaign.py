"""Feeds damaged files to everything that reads: ``python -m tests.fuzz.campaign --seconds 60 --seed 1``.

Each input is read in a forked child. It may be accepted or refused by one line. What nobody may do is raise anything else, or accept a
change where digests guard. Readers of recordings may die, hang or take too much memory: commands call them in the process apart.
"""

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from tests.fuzz.forks import Outcome, outcomes
from tests.fuzz.kinds import KINDS, Kind, copied, files_of
from tests.fuzz.mutations import mutated, mutated_text

MOST_KEPT = 3  # failures of a kind
WHOLE = -1  # number of the file that nobody changed


@dataclass
class Tally:
    """Of one kind."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, Outcome]] = field(default_factory=list)  # seed and file, what happened

    @property
    def inputs(self) -> int:
        return self.outcomes.total()


def fuzzed(kind: Kind, seconds: float, seed: int, count: int | None = None, keep: Path | None = None) -> Tally:
    """Feed damaged files of one kind, for some time or up to a number of them.

    Args:
        keep: a folder for the files that failed.
    """
    tally = Tally(kind.name)
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        whole, changed = Path(folder, "whole"), Path(folder, "changed")
        whole.mkdir()
        opened = kind.make(whole).relative_to(whole)
        contents = {file.relative_to(whole): file.read_bytes() for file in files_of(whole)}

        def attempt(number: int) -> None:
            damage = _damage(kind, contents, seed, number)
            copied(whole, changed)
            if damage is not None:
                Path(changed, damage.file).write_bytes(damage.content)
            kind.use(changed / opened)

        (first,) = outcomes([WHOLE], attempt)
        if first[1].kind != "accepted":
            raise RuntimeError(f"{kind.name}: a whole file is {first[1]}")
        for number, outcome in outcomes(_numbers(until, count), attempt):
            damage = _damage(kind, contents, seed, number)
            if damage is None:
                continue
            tally.outcomes[outcome.kind] += 1
            if _fails(kind, outcome, damage.file, contents[damage.file], damage.content):
                tally.failures.append((f"{kind.name}/{seed}/{number} {damage.file}", outcome))
                if keep is not None and len(tally.failures) <= MOST_KEPT:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{kind.name} {number} {damage.file.name}").write_bytes(damage.content)
    return tally


@dataclass(frozen=True)
class _Damage:
    file: Path  # of those that were made
    content: bytes


def _damage(kind: Kind, contents: dict[Path, bytes], seed: int, number: int) -> _Damage | None:
    """One input, the same for the same numbers; None where nothing changed."""
    if number == WHOLE:
        return None
    draw = random.Random(f"{kind.name}/{seed}/{number}")
    file = draw.choice(sorted(contents))
    damage = mutated if kind.damage is mutated_text and not _is_text(contents[file]) else kind.damage
    content = damage(contents[file], draw, contents[draw.choice(sorted(contents))])
    return None if content == contents[file] else _Damage(file, content)


def _numbers(until: float, count: int | None) -> Iterator[int]:
    number = 0
    while time.monotonic() < until and (count is None or number < count):
        yield number
        number += 1


def _is_text(content: bytes) -> bool:
    return b"\0" not in content and content.isascii()


def _fails(kind: Kind, outcome: Outcome, file: Path, before: bytes, after: bytes) -> bool:
    if outcome.kind == "accepted":
        return kind.guarded and file.suffix != ".toml" and not _same(before, after)  # what settings say, ``use`` looks at
    return outcome.kind != "refused" and not (kind.apart and outcome.kind in ("signal", "hang", "memory"))


def _same(before: bytes, after: bytes) -> bool:
    """Whether two JSON files say the same."""
    try:
        return bool(json.loads(before) == json.loads(after))
    except (ValueError, RecursionError):
        return False


@click.command()
@click.option("--seconds", type=float, default=60.0, show_default=True, help="For each kind.")
@click.option("--count", type=int, help="Inputs of each kind, at most.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--kind", "kinds", multiple=True, help="Kinds (default: all).")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for files that failed.")
def main(seconds: float, count: int | None, seed: int, kinds: tuple[str, ...], keep: Path | None) -> None:
    """Fuzz, and print a line a kind."""
    failed = 0
    for kind in KINDS:
        if kinds and kind.name not in kinds:
            continue
        tally = fuzzed(kind, seconds, seed, count, keep)
        click.echo(f"{kind.name:<16} {tally.inputs:>7} inputs  {dict(tally.outcomes)}  {len(tally.failures)} failed")
        for where, outcome in tally.failures[:MOST_KEPT]:
            click.echo(f"    {where}: {outcome.kind} {outcome.text.strip()[-260:]}")
        failed += len(tally.failures)
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
