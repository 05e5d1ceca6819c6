"""Every Python block in the README and the documentation is run.

Words after ```python tell what to do with a block:

- none: it is run by itself, not as `__main__`; what would serve or connect for ever returns at once;
- `continues`: it is run after the block before it in the same file, in the same namespace;
- `no-run`: it is compiled only. For what needs a world that a test has not.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tools.readme import README, ROOT, Block, blocks

RUNNER = Path(__file__).with_name("run_snippet.py")
SECONDS = 30
WORDS = {"continues", "no-run"}

PAGES = [README, *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)]
SNIPPETS = [block for page in PAGES for block in blocks(page) if block.language in ("python", "py")]


def whole(block: Block) -> str:
    """The block after those that it continues."""
    if "continues" not in block.words:
        return block.code
    before = [other for other in SNIPPETS if other.path == block.path and other.line < block.line]
    assert before, f"{block.name} continues nothing"
    return whole(before[-1]) + "\n" + block.code


@pytest.mark.parametrize("block", SNIPPETS, ids=lambda block: block.name)
def test_it_is_python(block: Block) -> None:
    assert set(block.words) <= WORDS
    compile(whole(block), block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if "no-run" in block.words else 0)


def runs_with_the_next(block: Block) -> bool:
    """Whether the block that comes next continues this one, and so runs it, too."""
    following = [other for other in SNIPPETS if other.path == block.path and other.line > block.line]
    return bool(following) and "continues" in following[0].words and "no-run" not in following[0].words


RUN = [block for block in SNIPPETS if "no-run" not in block.words and not runs_with_the_next(block)]


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.name)
def test_it_runs(block: Block) -> None:
    code = whole(block)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER)],
        input=code,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=ROOT,
    )
    assert done.returncode == 0, f"{block.name}:\n{done.stdout}{done.stderr}"
