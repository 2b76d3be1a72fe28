"""``examples/cycles``: built and profiled on both cores by the command line, compared with itself and with a slower build of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from realm_edge.app.cli import main
from tests.firmware_sim.cycles.programs import EXAMPLE, needs

ROOT = Path(__file__).parents[2]
CORES = ("cortex-m4", "rv32imc")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cycles")
    subprocess.run([EXAMPLE / "build", folder], check=True, env=os.environ | {"PYTHON": sys.executable}, capture_output=True)
    return folder


def run(*arguments: object):
    return CliRunner().invoke(main, ["cycles", *map(str, arguments)])


@pytest.mark.parametrize("name", CORES)
def test_the_example_is_profiled_and_compared(name, built, tmp_path):
    needs(name)
    elf, base, picture = built / f"telegram-{name}.elf", tmp_path / "base.json", tmp_path / "flame.svg"
    first = run(elf, "--target", name, "--json", "--flame", picture)
    assert first.exit_code == 0, first.output
    base.write_text(first.stdout)
    assert run(elf, "--target", name, "--json").stdout == first.stdout  # to the byte
    found = {row["name"]: row for row in json.loads(first.stdout)["functions"]}
    assert (found["sort"]["calls"], found["crc32"]["calls"], found["median"]["calls"]) == (2560, 10, 10)
    assert found["median"]["cycles_with_callees"] == found["median"]["cycles"] + found["sort"]["cycles"]
    assert "<title>sort: " in picture.read_text()
    same = run(elf, "--target", name, "--against", base, "--fail-over", "0%")
    assert same.exit_code == 0 and "sort\n" in same.stdout
    content = json.loads(first.stdout)
    for row in (content["total"], *(row for row in content["functions"] if row["name"] == "sort")):
        row["cycles"] *= 0.9
    base.write_text(json.dumps(content))
    grown = run(elf, "--target", name, "--against", base, "--fail-over", "2%")
    assert grown.exit_code == 1 and re.search(r"\+11\.11 %  sort  more than 2 %\n", grown.stdout)
    assert run(elf, "--target", name, "--against", base).exit_code == 0


def test_the_readme_shows_what_the_example_gives(built):
    needs("cortex-m4")
    shown = run(built / "telegram-cortex-m4.elf")
    lines = [line for line in shown.stdout.splitlines() if line.strip()]
    page = (ROOT / "README.md").read_text()
    names = {line.split()[-1] for line in lines[5:9]}
    assert shown.exit_code == 0 and {"sort", "median", "fir", "crc32"} == names
    for line in (lines[1], *lines[5:9]):
        assert line in page, line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fail-over", "2%"], "--fail-over 2%: there is nothing to compare with: give --against FILE"),
        (["--against", "base.json", "--fail-over", "two"], "--fail-over two: use a percentage such as 2%"),
        (["--against", "absent.json"], "absent.json: no such file"),
        (["--target", "z80"], "unknown target 'z80'"),
        (["--until", "main@0"], "--until main@0: it is reached for the 1st time or later"),
        (["--entry", "mian"], "did you mean median or main"),
    ],
)  # fmt: skip
def test_wrong_options_cost_a_line(options, words, built, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(built / "telegram-cortex-m4.elf", *options)
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1
