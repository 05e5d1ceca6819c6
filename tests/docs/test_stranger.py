"""README.md and the tutorial work for somebody who has nothing else; see stranger.py."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scripts.tools.readme import README, ROOT, Block

from .stranger import FIRST_HOUR, TUTORIAL, Stranger, Typed, fits, missing, typed


def test_commands_and_what_is_shown() -> None:
    block = Block(README, 1, "", "console", (), "$ first\none\ntwo\n$ second\n")
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


@pytest.mark.parametrize("page", [FIRST_HOUR, TUTORIAL], ids=["README", "tutorial"])
def test_the_page_shows_what_its_programs_print(page: list[Block]) -> None:
    shown = {one.command for block in page if block.language == "console" for one in typed(block) if one.shown}
    assert {"iotio run server.py", "python device.py"} < shown
    assert [block.heading for block in page if block.language == "python"] == ["server.py", "device.py"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_first_hour_of_a_stranger(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("this is no clone of the repository")
    stranger = Stranger(tmp_path, compiled=bool(os.environ.get("IOTIO_FULL")))
    for page in (FIRST_HOUR, TUTORIAL):
        stranger.work(page)
