"""The pages of docs/: each stands once in the index, none is too long, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT

DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
LINKING = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
LONGEST = 300
"""Lines of a page that is read from its beginning to its end."""
LONGEST_OLD = 30
"""Lines of docs/server.md, which is there for old links only."""

CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def kinds() -> dict[str, list[str]]:
    """The pages of the index by its headings."""
    found: dict[str, list[str]] = {}
    for part in INDEX.read_text(encoding="utf-8").split("\n## ")[1:]:
        trees = re.findall(r"```{toctree}\n(.*?)```", part, re.DOTALL)
        lines = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
        found[part.partition("\n")[0]] = lines
    return found


def anchors(page: Path) -> set[str]:
    """What a link can name behind #, as GitHub and MyST make it of headings."""
    headings = HEADING.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_each_page_stands_once_in_the_index_under_one_of_four_headings() -> None:
    assert list(kinds()) == ["Tutorial", "How-to guides", "Reference", "Explanation"]
    listed = [one for pages in kinds().values() for one in pages]
    assert sorted(listed) == sorted(
        page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES if page != INDEX
    )


@pytest.mark.parametrize(("folder", "heading"), [("tutorial", 0), ("how-to", 1), ("reference", 2), ("explanation", 3)])
def test_a_folder_is_under_its_heading(folder: str, heading: int) -> None:
    pages = [page for page in PAGES if page.parent == DOCS / folder]
    assert pages
    assert {page.relative_to(DOCS).with_suffix("").as_posix() for page in pages} <= set(list(kinds().values())[heading])


def test_no_page_is_too_long() -> None:
    reference = {DOCS / f"{one}.md" for one in kinds()["Reference"]}
    lines = {name(page): len(page.read_text(encoding="utf-8").splitlines()) for page in PAGES}
    assert {name(page) for page in PAGES if page not in reference and lines[name(page)] > LONGEST} == set()
    assert lines["docs/server.md"] <= LONGEST_OLD


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.exists() or (anchor and anchor not in anchors(to)):
            wrong.append(link)
    assert wrong == []
