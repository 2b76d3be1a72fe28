"""Hooks of MkDocs: pages that lie beside ``docs/`` in the repository are pages of the site, and links out of it are plain text."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_FENCE = re.compile(r"^(```.*?^```)", flags=re.S | re.M)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_moved(text, "", "")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point the links of a page of ``docs/`` to where the site has what they name."""
    source = page.file.src_uri
    return markdown if source in PAGES.values() else _moved(markdown, posixpath.join("docs", posixpath.dirname(source)), source)


def _moved(markdown: str, folder: str, source: str) -> str:
    """With the links of a file in ``folder`` of the repository, whose page is ``source``, as links of the site."""
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(lambda match: _link(match[1], match[2], folder, source), part) for part in parts[::2]]
    return "".join(parts).replace("](docs/", "](")


def _link(text: str, target: str, folder: str, source: str) -> str:
    if re.match(r"[a-z]+:|#", target):
        return f"[{text}]({target})"
    name, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(folder, name))
    page = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") and not path.endswith(".py") else None)
    if page is None:  # code: the site does not have it
        return text if "`" in text else f"`{path}`" if text == posixpath.basename(path) or text == path else f"{text} (`{path}`)"
    here = posixpath.relpath(page, posixpath.dirname(source) or ".")
    return f"[{text}]({here}{'#' + anchor if anchor else ''})"


def on_page_content(html: str, **_: Any) -> str:
    """Leave out the roles of docstrings: ``:func:`name``` is the name."""
    return re.sub(r":(?:func|mod|class|meth|data|attr):(?=<code>)", "", html)
