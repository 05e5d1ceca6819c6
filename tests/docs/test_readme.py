"""The README: its quickstart is that of iot.io word for word, and its code blocks are read right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from scripts.tools.readme import (
    QUICKSTART_DEVICE,
    QUICKSTART_SERVER,
    README,
    Block,
    blocks,
    on_port,
    quickstart,
)

SEED_SHA256 = "96ac3ab4d581b0bccb40a5420ecf340ac3656d8e0ce9107a613ac0202f7802fd"
"""Of the server's code in the README of iot.io 0.1 to 0.3, trailing blanks and misspelt words included."""


def test_the_quickstart_is_that_of_iotio_word_for_word() -> None:
    assert hashlib.sha256(quickstart(QUICKSTART_SERVER).encode()).hexdigest() == SEED_SHA256


def test_it_opens_with_the_two_commands() -> None:
    paragraph = README.read_text(encoding="utf-8").split("\n\n")[2]
    assert [line.split("`")[1] for line in paragraph.splitlines()] == ["scripts/demo", "scripts/test"]


def test_it_is_short() -> None:
    """What is more goes to the docs."""
    assert len(README.read_text(encoding="utf-8").splitlines()) < 150


def test_both_programs_name_the_port_once() -> None:
    for heading in (QUICKSTART_SERVER, QUICKSTART_DEVICE):
        assert ":12345" in on_port(quickstart(heading), 12345).replace("('', ", ":")


def test_blocks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n\n```python continues x\na = 1\n\n```\n## Two\n- item\n  ```\n  plain\n  ```\n")
    assert blocks(page) == [
        Block(page, 4, "One", "python", ("continues", "x"), "a = 1\n\n"),
        Block(page, 10, "Two", "", (), "plain\n"),
    ]


def test_an_open_block_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n")
    with pytest.raises(ValueError, match="not closed"):
        blocks(page)
