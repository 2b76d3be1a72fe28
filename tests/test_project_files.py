"""Files for those who come next: how to cite, hosted CI, what is installed at which version."""

import re
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

import realm_edge

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read_yaml(name: str):
    return YAML(typ="safe").load((ROOT / name).read_text())


def test_the_citation_names_the_version_the_licence_and_the_paper():
    cited = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "abstract", "authors", "references"} <= set(cited)
    assert (cited["cff-version"], cited["type"], cited["license"]) == ("1.2.0", "software", PROJECT["project"]["license"])
    assert str(cited["version"]) == realm_edge.__version__ == PROJECT["project"]["version"]
    [paper] = cited["references"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2605.14867"}] and len(paper["authors"]) == 4


def test_the_changelog_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text and re.search(rf"^## \[?{re.escape(realm_edge.__version__)}\b", text, flags=re.M)


def test_hosted_ci_runs_the_command_of_everybody_on_the_oldest_and_the_newest_python():
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    for job in jobs.values():
        assert job["steps"][-1]["run"].startswith("./start test")
    pythons = [each["python"] for each in jobs["test"]["strategy"]["matrix"]["include"]]
    assert pythons == ["3.11", "3.13"]
    markers = {marker.partition(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    suites = {word for suite in jobs["marked"]["strategy"]["matrix"]["suite"] for word in suite.split(" or ")}
    assert suites == markers - {"oracle"}


def test_every_dependency_has_a_lower_bound_a_reason_and_a_pin():
    extras = PROJECT["project"]["optional-dependencies"]
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    pins = {line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for requirement in [*PROJECT["project"]["dependencies"], *(each for name in ("test", "docs", "formats") for each in extras[name])]:
        name = re.match(r"[\w-]+", requirement)[0]
        [line] = [line for line in lines if re.match(rf'\s*"{re.escape(requirement)}"', line)][:1]
        assert "#" in line, f"{requirement}: no reason"
        if name != "realm-edge":
            assert re.search(r">=|==", requirement), f"{requirement}: no lower bound"
            assert name.lower().replace("_", "-") in pins, f"{requirement}: no pin"
