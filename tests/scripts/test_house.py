"""The drawing of the packages in CONTRIBUTING.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grimp", reason="grimp comes with import-linter, in the extra dev")

from scripts.tools import house
from scripts.tools.environments import ROOT


def test_each_name_stands_above_what_it_imports() -> None:
    assert house.layers({"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": set()}) == [["a"], ["b"], ["c", "d"]]


def test_a_circle_is_told() -> None:
    with pytest.raises(ValueError, match="in a circle: a, b"):
        house.layers({"a": {"b"}, "b": {"a"}})


def test_a_wrong_drawing_is_told_and_repaired(tmp_path: Path) -> None:
    file = tmp_path / "CONTRIBUTING.md"
    file.write_text(f"before\n{house.BEGIN}old\n{house.END}after\n")
    assert house.main([], file) == 1
    assert house.main(["--fix"], file) == 0
    assert house.main([], file) == 0
    assert file.read_text().startswith("before\n")
    assert file.read_text().endswith("after\n")


def test_the_drawing_is_that_of_the_imports() -> None:
    """In a process of its own: iotio, once imported, adds a folder to its path, and the imports are read from there."""
    done = subprocess.run([sys.executable, "-m", "scripts.tools.house"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
