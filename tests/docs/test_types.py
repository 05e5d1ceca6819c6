"""The programs of README.md, the documentation and examples/ pass mypy and pyright.

Both run as a user runs them. Those of README.md, the tutorial, docs/devices.md and the examples are whole programs with
types, and pass `mypy --strict`; mypy has the examples in the configuration of the project. Those of other pages show
one thing each, and leave types out where they would be longer than the thing; those that they have must be right.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tools.readme import QUICKSTART_SERVER, README, ROOT, Block
from tests.support.strict_types import passes_mypy

from .test_snippets import SNIPPETS, whole

pytestmark = pytest.mark.slow  # both read all that the programs import

PAGES = (README, ROOT / "docs" / "devices.md", *(ROOT / "docs" / "tutorial").glob("*.md"))
"""Of whole programs."""
PROGRAMS = [block for block in SNIPPETS if "no-run" not in block.words]
# The quickstart's server is that of iot.io word for word, which has no types.
TYPED = [block for block in PROGRAMS if block.path in PAGES and block.heading != QUICKSTART_SERVER]
OTHERS = [block for block in PROGRAMS if block.path not in PAGES]
AS_USERS = ("--config-file=", "--follow-imports=silent")


def write(blocks: list[Block], folder: Path) -> list[str]:
    """Write programs as files; their names."""
    names = [f"{block.path.stem}_{block.line}.py".lower().replace("-", "_") for block in blocks]
    for name, block in zip(names, blocks, strict=True):
        (folder / name).write_text(whole(block), encoding="utf-8")
    assert len(names) > 8
    return names


def test_they_pass_mypy_strict(tmp_path: Path) -> None:
    passes_mypy(tmp_path, *AS_USERS, *write(TYPED, tmp_path))


def test_what_leaves_types_out_passes_mypy(tmp_path: Path) -> None:
    passes_mypy(tmp_path, *AS_USERS, "--allow-untyped-defs", "--allow-incomplete-defs", *write(OTHERS, tmp_path))


def test_they_pass_pyright(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    names = write(PROGRAMS, tmp_path)
    examples = tmp_path / "examples"
    examples.symlink_to(ROOT / "examples")
    settings = {"include": [*names, "examples"], "extraPaths": [str(ROOT / "src")], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] >= len(names) + len(list((ROOT / "examples").rglob("*.py")))
    assert found["generalDiagnostics"] == []
    assert done.returncode == 0, done.stderr
