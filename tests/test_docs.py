"""What the documentation names is there: files, modules, functions, commands, headings; and each way passes a module once."""

import re
from functools import cache
from pathlib import Path

import click
import pytest

from realm_edge.app.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted((ROOT / "docs").rglob("*.md"))
PACKAGES = ("realm_edge", "export", "quantization", "firmware_sim")
FOLDERS = (*PACKAGES, "tests", "docs", "examples", ".github", ".ci")
SOURCES = (".py", ".c", ".h", ".S", ".ld", ".j2", ".sv", ".cpp")
UPWARDS = ("realm_edge", "export", "quantization", "firmware_sim", "realm_edge/app")
WRITTEN = {"realm_lfp.h", "realm_lfp_decoder.h", "realm_lfp_frontend.h"}  # by the compiler, into a bundle
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    """Without fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def words(page: Path) -> set[str]:
    """What stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", prose(page)))


@cache
def basenames() -> set[str]:
    return {path.name for folder in (*PACKAGES, "tests", "examples", "docs") for path in (ROOT / folder).rglob("*") if path.is_file()}


def spelled_out(word: str) -> list[str]:
    """``a/{b,c}.py`` is two."""
    brace = re.search(r"\{([^}]*)\}", word)
    return [word] if brace is None else [word[: brace.start()] + part + word[brace.end() :] for part in brace[1].split(",")]


@each_page
def test_files_that_are_named_exist(page):
    paths = [path for word in words(page) for path in spelled_out(word) if re.fullmatch(r"[\w./*+-]+", path)]
    inside = [path for path in paths if path.split("/")[0] in FOLDERS and "/" in path]
    alone = [path for path in paths if "/" not in path and path.endswith(SOURCES) and not path.startswith(".")]
    missing = [path for path in inside if not list(ROOT.glob(path.rstrip("/")))] + [
        path for path in alone if path not in basenames() | WRITTEN
    ]
    assert not missing


@each_page
def test_modules_and_functions_that_are_named_exist(page):
    names = [word.removesuffix("()") for word in words(page) if re.fullmatch(rf"({'|'.join(PACKAGES)})(\.\w+)+(\(\))?", word)]
    assert [name for name in names if not _found(name)] == []


def _found(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            rest = parts[length:]
            return not rest or bool(re.search(rf"\b{rest[0]}\b", file.read_text()))
    return False


@each_page
def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.M)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()) for heading in headings}


@each_page
def test_commands_and_their_options_exist(page):
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    calls = re.findall(r"(?:^|`|\s)realm-edge ((?:[\w.]|-(?=-?\w)|[ /:=,\[\]'*<>])+)", text)
    wrong = []
    for call in calls:
        command, options = _command(call.split())
        known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h", "--version"}
        wrong += [f"{call}: {option}" for option in options if option not in known]
    assert not wrong


def _command(spoken: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = main
    for word in spoken:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        command = command.commands[word]
    return command, [word.partition("=")[0] for word in spoken if word.startswith("--")]


@pytest.mark.parametrize("what", ["sample", "weight", "cycle"])
def test_each_way_passes_every_module_once(what):
    text = (ROOT / "docs" / "architecture.md").read_text()
    [way] = re.findall(rf"^## The way of a {what}$(.*?)^## ", text, flags=re.S | re.M)
    steps = re.findall(r"^\d+\. (.*)$", way, flags=re.M)
    assert len(steps) > 10 and all(re.match(r"`[\w/]+\.(py|c)`", step) for step in steps)
    named = re.findall(r"`([\w/]+/[\w.]+\.(?:py|c))`", way)
    assert len(set(named)) == len(named) >= len(steps)
    places = [UPWARDS.index("realm_edge/app" if name.startswith("realm_edge/app/") else name.split("/")[0]) for name in named]
    assert places == sorted(places)  # from package to package in one direction
