"""The pages of docs/: each stands once in the index, none is too long, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts.tools.environments import ROOT

DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
OTHERS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md", "client/README.md")
LINKING = [*(ROOT / one for one in OTHERS), *PAGES]
LONGEST = 300
"""Lines of a page that is read from its beginning to its end."""
LONGEST_OLD = 30
"""Lines of docs/server.md, which is there for old links only."""

CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|<(https?:[^>\s]*)>")
"""A link with words, or an address that stands for itself."""
HOST_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
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


def is_well_formed(url: str) -> bool:
    """Whether it is the address of a page in the web."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and HOST_NAME.fullmatch(parts.netloc) is not None


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link of a page has the form of an address, or names a file and a heading that exist."""
    if ":" in link.partition("#")[0]:
        return is_well_formed(link)
    path, _, anchor = link.partition("#")
    to = (page.parent / path).resolve() if path else page
    return to.exists() and (not anchor or anchor in anchors(to))


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    found = [one or other for one, other in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))]
    assert [link for link in found if not leads_somewhere(page, link)] == []


@pytest.mark.parametrize(
    ("link", "right"),
    [
        ("README.md", True),
        ("docs/devices.md#asyncio", True),
        ("https://keepachangelog.com", True),
        ("nowhere.md", False),
        ("docs/devices.md#nowhere", False),
        ("https://keepachangelog", False),
        ("https:///page", False),
        ("htps://keepachangelog.com", False),
    ],
)
def test_which_links_are_right(link: str, right: bool) -> None:
    assert leads_somewhere(ROOT / "README.md", link) == right
