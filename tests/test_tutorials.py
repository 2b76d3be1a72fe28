"""The tutorials, as they stand: their commands and their code, one after the other, in one folder."""

import re
import shlex
import shutil
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from firmware_sim import components, targets
from realm_edge.app.cli import main
from tests.small_run import needs_emulator

ROOT = Path(__file__).parents[1]
PAGES = ("own-recording", "own-part", "own-decoder", "reading-the-report")
PATH_IN_PACKAGE = "firmware_sim/data/"


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is, the file that it is or is appended to, and its text."""

    kind: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text()
    found = re.findall(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', text, flags=re.S | re.M)
    assert len(found) == len(re.findall(r"^```$", text, flags=re.M))
    return [Block(*each) for each in found]


@dataclass
class Reader:
    """Somebody who follows the pages."""

    data: Path  # copies of the tables of firmware_sim/data
    names: dict[str, Any] = field(default_factory=dict)  # of the Python session, which goes on from page to page
    printed: list[str] = field(default_factory=list)  # what each command said
    followed: list[str] = field(default_factory=list)

    def follow(self, page: str) -> None:
        """A page, and before it those that it goes on from, where they were not followed yet."""
        for each in PAGES[: PAGES.index(page) + 1]:
            if each not in self.followed:
                self.followed.append(each)
                self._follow(each)

    def _follow(self, page: str) -> None:
        for block in blocks(page):
            match block.kind:
                case "python":
                    exec(compile(block.text, f"{page}.md", "exec"), self.names)
                case "sh":
                    for line in block.text.splitlines():
                        self.command(line)
                case "toml" if block.title.startswith(PATH_IN_PACKAGE):
                    with (self.data / Path(block.title).name).open("a") as table:
                        table.write(f"\n{block.text}")
                    targets.targets.cache_clear()
                    components._shipped.cache_clear()
                case "toml":
                    Path(block.title).write_text(block.text)
                case "text":
                    pass
                case _:
                    raise AssertionError(f"{page}: a block of '{block.kind}', which nobody runs")

    def command(self, line: str) -> None:
        name, *arguments = shlex.split(line, comments=True)
        assert name == "realm-edge"
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code in (0, 1), (line, result.output)  # 1: a budget is broken
        assert result.exception is None or isinstance(result.exception, SystemExit), (line, result.exception)
        self.printed.append(result.stdout)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """In a folder of his own, with tables of his own."""
    needs_emulator()
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is not installed: apt-get install qemu-system-arm")
    folder = tmp_path_factory.mktemp("tutorials")
    (folder / "data").mkdir()
    for name in ("targets.toml", "components.toml"):
        (folder / "data" / name).write_bytes(files("firmware_sim").joinpath(f"data/{name}").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        for module in (targets, components):
            patch.setattr(module, "files", lambda package: folder)
        patch.chdir(folder)
        yield Reader(folder / "data")
    targets.targets.cache_clear()
    components._shipped.cache_clear()


@pytest.mark.slow
def test_a_recording_of_ones_own(reader):
    reader.follow("own-recording")
    assert Path("monday.png").is_file() and "4 channel(s), 500 Hz" in reader.printed[0]
    assert reader.names["simulated"].lfp.bit_exact and reader.names["simulated"].lfp.r2_int8 > 0.5


@pytest.mark.slow
def test_a_part_of_ones_own(reader):
    reader.follow("own-part")
    assert any("MyPart 64, 64 MHz, 512 KiB flash, 128 KiB RAM (assumed: clock_hz" in said for said in reader.printed)
    page = Path("runs/monday/report.html").read_text()
    assert "MyPart 64" in page and "mcu.my-part.active" in page
    assert "latency_ms" in reader.printed[-1] and "r2" not in reader.printed[-1].split("cycles")[-1]


@pytest.mark.slow
def test_a_decoder_of_ones_own(reader):
    reader.follow("own-decoder")
    assert reader.names["result"].bit_exact and reader.names["r2"][0] > 0.5


@pytest.mark.slow
def test_the_report_is_read(reader):
    reader.follow("reading-the-report")
    assert reader.names["broken"] == []


def test_the_sections_of_the_report_are_those_that_it_has():
    text = (ROOT / "docs" / "tutorials" / "reading-the-report.md").read_text()
    read = re.findall(r"^## (.*)$", text, flags=re.M)
    template = files("realm_edge.app.report").joinpath("template.html.j2").read_text(encoding="utf-8")
    assert read[1:-1] == re.findall(r"<h2>(.*)</h2>", template)


def test_every_tutorial_is_followed():
    assert {path.stem for path in (ROOT / "docs" / "tutorials").glob("*.md")} == set(PAGES)
    for page in PAGES:
        assert {block.kind for block in blocks(page)} <= {"python", "sh", "toml", "text"}
