"""docs/how-to/troubleshooting.md shows lines of the log and errors as the sources have them."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from iotio_protocol.reasons import DisconnectReason
from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks

PATH = ROOT / "docs" / "how-to" / "troubleshooting.md"
LINES = [line for block in blocks(PATH) if block.language == "text" for line in block.code.splitlines()]
SHOWN = re.compile(r"(?:(?:INFO|WARNING|ERROR) iotio[.\w]*|[A-Z]\w+Error): (.*)")
NO_BRACKETS = re.compile(r"[^()]+")
IN_BRACKETS = re.compile(r"\([^)]*\)")
PLACEHOLDER = re.compile(r"%(?:\.\d+)?[a-z]")
WORDS = re.compile(r"[a-z']+(?: [a-z']+){3}")
NOT_AT_THE_END = {DisconnectReason.CLIENT_CLOSE, DisconnectReason.REFUSED, DisconnectReason.HANDSHAKE_TIMEOUT}
"""What no line of a device that was in ends with, or what is in order."""


@cache
def pieces() -> list[str]:
    """What stands between the placeholders of all texts of the sources, the longest first."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {one.strip() for one in PLACEHOLDER.split(node.value) if " " in one.strip()}
    return sorted(found, key=len, reverse=True)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:60])
def test_each_line_is_made_of_texts_of_the_sources(line: str) -> None:
    """What is left is not four words long: ids, numbers, addresses. Words of others stand in brackets."""
    shown = SHOWN.fullmatch(line)
    assert shown is not None
    rest = shown[1]
    for piece in pieces():
        rest = rest.replace(piece, NO_BRACKETS.sub("|", piece))
    assert "|" in rest
    assert WORDS.search(IN_BRACKETS.sub("", rest)) is None


def test_each_reason_why_a_connection_ends_has_a_cure() -> None:
    table = PATH.read_text(encoding="utf-8").partition("| the line ends with |")[2].partition("\n\n")[0]
    cured = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert sorted(cured) == sorted(reason.words for reason in set(DisconnectReason) - NOT_AT_THE_END)
