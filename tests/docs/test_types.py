"""The programs of README.md and docs/devices.md pass `mypy --strict`, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tools.readme import QUICKSTART_SERVER, README, ROOT

from .test_snippets import SNIPPETS, whole

pytestmark = pytest.mark.slow  # mypy reads all that the programs import

PAGES = (README, ROOT / "docs" / "devices.md")


def test_they_pass_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    programs = []
    for block in SNIPPETS:
        # The quickstart's server is that of iot.io word for word, which has no types.
        if block.path in PAGES and "no-run" not in block.words and block.heading != QUICKSTART_SERVER:
            program = tmp_path / f"{block.path.stem}_{block.line}.py".lower()
            program.write_text(whole(block), encoding="utf-8")
            programs.append(program.name)
    assert len(programs) > 8
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent", *programs],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
