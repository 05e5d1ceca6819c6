"""README.md works for somebody who has nothing else; see stranger.py."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scripts.tools.readme import README, ROOT, Block, blocks

from .stranger import HEADING, Stranger, Typed, fits, missing, typed


def test_commands_and_what_is_shown() -> None:
    block = Block(README, 1, HEADING, "console", (), "$ first\none\ntwo\n$ second\n")
    assert typed(block) == [Typed("first", ("one", "two")), Typed("second", ())]


@pytest.mark.parametrize(
    ("shown", "line", "wanted"),
    [
        ("... INFO x: from 127.0.0.1:...", "12:00 INFO x: from 127.0.0.1:40000", True),
        ("... INFO x: from 127.0.0.1:...", "12:00 INFO x: from 127a0.0.1:40000", False),
        ("brightness is now 7", "brightness is now 70", False),
    ],
)
def test_what_a_line_may_be(shown: str, line: str, wanted: bool) -> None:
    assert fits(shown, line) is wanted


def test_the_readme_shows_what_its_programs_print() -> None:
    page = [block for block in blocks(README) if block.heading == HEADING and block.language == "console"]
    shown = {one.command for block in page for one in typed(block) if one.shown}
    assert {"iotio run server.py", "python device.py"} < shown


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_first_hour_of_a_stranger(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("this is no clone of the repository")
    Stranger(tmp_path, compiled=bool(os.environ.get("IOTIO_FULL"))).work()
