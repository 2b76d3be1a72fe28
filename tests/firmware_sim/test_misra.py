"""MISRA C:2012, as cppcheck's addon sees it: the driver deviates from no rule that docs/bundle.md does not list with a reason."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_sim.bundle import Bundle
from tests.firmware_sim.board.selftests import write_lfp, write_spike

CPPCHECK = "cppcheck"
PAGE = Path(__file__).parents[2] / "docs/bundle.md"
DEBIAN_12 = "Cppcheck 2.10"  # others know more rules or fewer


def listed() -> dict[str, str]:
    """Rule and reason of each row of the table."""
    table = PAGE.read_text().partition("## MISRA")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (\d+\.\d+) \|[^|]*\|[^|]*\| ([^|]+) \|$", table, flags=re.M))


def found(bundle: Bundle, folder: Path) -> set[str]:
    """Rules that the drivers and headers of a bundle break; its weights are tables of numbers, its self-test is no part of a product."""
    sources = [path for path in sorted((bundle.path / "src").glob("*.c")) if not path.name.endswith("_weights.c")]
    flags = ["--addon=misra", "--std=c99", "--platform=arm32-wchar_t2", "--quiet", "--template={id}"]
    paths = [f"-I{bundle.path / part}" for part in ("include", "src")]
    done = subprocess.run([CPPCHECK, *flags, *paths, *map(str, sources)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ids = set(done.stderr.split())
    assert all(name.startswith("misra-c2012-") for name in ids), ids
    return {name.removeprefix("misra-c2012-") for name in ids}


@pytest.mark.skipif(shutil.which(CPPCHECK) is None, reason=f"{CPPCHECK} is not installed: apt-get install cppcheck")
def test_the_driver_deviates_from_the_listed_rules_alone(tmp_path: Path) -> None:
    rules = found(write_lfp(tmp_path, "cortex-m4"), tmp_path) | found(write_spike(tmp_path, "cortex-m4"), tmp_path)
    assert rules <= set(listed()), "fix it, or list it with its reason in docs/bundle.md"
    version = subprocess.run([CPPCHECK, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if not rules:
        pytest.skip(f"the addon of {version} finds nothing at all here: it was not tested with this")
    if version == DEBIAN_12:
        assert rules == set(listed())  # nothing is excused that is not there


def test_every_deviation_has_a_reason() -> None:
    assert len(listed()) >= 5 and all(len(reason) > 20 for reason in listed().values())
