"""Plausible one-line bugs, each with the test that must notice it: ``mutants/<package>.toml``."""

import ast
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent / "mutants"


@dataclass(frozen=True)
class Mutant:
    """Text of a file that occurs there once, what stands in its place, and the node id of the test that must fail then."""

    file: str
    bug: str
    old: str
    new: str
    test: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.bug}"

    def applied(self, root: Path) -> str:
        """The file with the bug in it.

        Raises:
            AssertionError: the list is out of date.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        assert text.count(self.old) == 1, f"{self.file}: {self.old!r} is there {text.count(self.old)} times: bring the list up to date"
        return text.replace(self.old, self.new)


@cache
def mutants() -> tuple[Mutant, ...]:
    """All of them, package by package."""
    lists = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(LISTS.glob("*.toml"))]
    return tuple(Mutant(file, **row) for each in lists for file, rows in each.items() for row in rows)


@cache
def functions_of(file: str) -> frozenset[str]:
    """Names of the test functions of a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test"))
