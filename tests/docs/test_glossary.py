"""docs/glossary.md has each term once, in the order of the alphabet."""

from __future__ import annotations

import re

from scripts.tools.environments import ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
TERMS = {
    "call",
    "connection",
    "data",
    "device",
    "device type",
    "durable message",
    "endpoint",
    "event",
    "handler",
    "presence",
    "room",
}


def test_each_term_stands_once() -> None:
    found = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert found == sorted(set(found))
    assert set(found) >= TERMS


def test_each_term_has_a_meaning() -> None:
    for part in PAGE.split("\n## ")[1:]:
        assert part.partition("\n")[2].strip().endswith(".")
