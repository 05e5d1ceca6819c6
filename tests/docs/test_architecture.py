"""docs/architecture.md names files and what is in them: all of that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SOURCES = ROOT / "src"
NAME = re.compile(r"_?[A-Z]\w*[a-z]\w*(\.\w+)?|broadcast|step_of|taking|answering|refuse_call|finishes")


def path_of(name: str) -> Path:
    """The file that the page means by a name."""
    return SOURCES / name if name.startswith("iotio_") else SOURCES / "iotio" / name


def named() -> Iterator[tuple[str, str]]:
    """Each file, with "" and with each capitalised or called name that stands behind it, up to the next file."""
    for paragraph in re.split(r"\n(?=[-0-9#\n])", PAGE):
        file = ""
        for span in re.findall(r"`([^`]+)`", paragraph):
            if span.endswith(".py"):
                file = span
                yield file, ""
            elif file and NAME.fullmatch(span):
                yield file, span


@cache
def names_in(file: Path) -> frozenset[str]:
    """What a module defines: functions, classes, and their methods and fields."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    found.add(f"{node.name}.{inner.name}")
                elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                    found.add(f"{node.name}.{inner.target.id}")
    return frozenset(found)


@pytest.mark.parametrize(("file", "name"), sorted(set(named())))
def test_each_name_is_where_the_page_says(file: str, name: str) -> None:
    assert path_of(file).is_file()
    if name:
        assert name in names_in(path_of(file))


def test_the_page_is_read() -> None:
    assert len(set(named())) > 80
    assert ("core/gate.py", "Gate.refuse") in set(named())
