"""docs/limits.md names options with their defaults, and tests: all of that is so."""

from __future__ import annotations

import re

import pytest

from iotio_protocol.options import DEFAULT_OPTIONS
from scripts.tools.environments import ROOT

LINES = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8").splitlines()
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in LINES if line.startswith("| ")][2:]


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: cells[0][:40])
def test_each_line_is_whole_and_true(cells: list[str]) -> None:
    assert len(cells) == 5
    assert all(cells)
    for name, value in re.findall(r"`(max_[a-z_]+)` \((\d+)", cells[1]):
        assert getattr(DEFAULT_OPTIONS, name) == int(value)
    assert [name for name in re.findall(r"`(tests/[^`]+)`", cells[4]) if not (ROOT / name).is_file()] == []
    assert re.search(r"`tests/|the same", cells[4])
