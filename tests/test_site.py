"""The documentation builds as a site without a warning, and every link of it leads somewhere."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("index.html", "architecture.html", "contributing.html", "tutorials/own-part.html", "reference/notebook.html", "glossary.html")


class Page(HTMLParser):
    """What a page links to, the anchors that it has, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for needed in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(
            needed, reason="the site's tools are missing: pip install -e '.[docs]' -c constraints.txt", exc_type=ImportError
        )
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_the_pages_are_there_and_say_something(site, pages):
    for name in PAGES:
        assert len(" ".join(pages[site / name].words)) > 2000, name


def test_every_link_leads_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links if path.name != "404.html" else []:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchored = not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].anchors
            if not target.exists() or not anchored:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_nothing_is_fetched_from_elsewhere(pages):
    elsewhere = {
        link
        for page in pages.values()
        for link in page.links
        if urlsplit(link).path.endswith((".js", ".css", ".woff2")) and urlsplit(link).netloc
    }
    assert not elsewhere


def test_the_reference_shows_functions_and_no_markup(site, pages):
    text = " ".join(pages[site / "reference" / "notebook.html"].words)
    for name in ("load", "train", "quantize", "compile", "simulate", "report", "UserError"):
        assert name in text
    for page in (each for path, each in pages.items() if path.parent.name == "reference"):
        words = " ".join(page.words)
        assert ":::" not in words and ":func:" not in words and ":class:" not in words
