"""docs/logs.md lists each line of the log that is not at DEBUG, as the sources have it, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from iotio.core.pending import NO_PLACE
from scripts.tools.environments import ROOT

PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
SOURCES = ROOT / "src"
CALLS = ("info", "warning", "error", "exception", "failure", "log")
LOGGERS = re.compile(r"log|throttle")
PLACEHOLDER = re.compile(r"%(\.\d+)?[a-z]")


def shown(text: str) -> str:
    """A text as the page has it."""
    return PLACEHOLDER.sub("…", text).replace("`", "'")


def texts_of(tree: ast.Module) -> Iterator[str]:
    """The texts of the log lines of a module; where a call has a name for one, all texts that this name stands for."""
    named: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
            named.setdefault(node.targets[0].id, []).extend(one for one in found if isinstance(one, str))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS):
            continue
        if not LOGGERS.search(ast.unparse(node.func.value)):
            continue
        for argument in node.args[:3]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value
            elif isinstance(argument, ast.Name) and argument.id == "text":
                yield from named.get(argument.id, ())


def in_sources() -> set[str]:
    found = {NO_PLACE}
    for path in SOURCES.rglob("*.py"):
        if path.name != "log_throttle.py":
            found |= {one for one in texts_of(ast.parse(path.read_text(encoding="utf-8"))) if " " in one}
    return {shown(one) for one in found - {"proxy protocol"}}  # which is a kind of lines


def test_each_line_is_on_the_page() -> None:
    rows = re.findall(r"^\| (?:INFO|WARNING|ERROR)[^|]* \| `([^`]+)` \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert in_sources() - set(rows) == set(), "missing on the page"
    assert set(rows) - in_sources() == set(), "not in the sources any more"
