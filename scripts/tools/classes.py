"""Name the classes of src/ that have too many methods, counted with what they inherit. Standard library only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.tools.environments import ROOT

__all__ = ["methods", "too_large"]

MOST = 45
MORE: Mapping[str, int] = {
    "NativeConnection": 70,
    "IoTManager": 55,
    "Manager": 50,
    "IoTClient": 50,
    "AsyncIoTClient": 50,
}
"""The hot paths of the native host stay in one compiled class; managers and clients are what a program calls."""


def methods(sources: Path) -> dict[str, set[str]]:
    """Find the names of the methods and properties of each class, with those that it inherits from classes in there.

    Returns:
        The names by "module.Class".
    """
    trees = {_module(file, sources): ast.parse(file.read_text(encoding="utf-8")) for file in sources.rglob("*.py")}
    bases: dict[str, list[str]] = {}
    own: dict[str, set[str]] = {}
    for module, tree in trees.items():
        names = _imported(tree, module)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                name = f"{module}.{node.name}"
                texts = [ast.unparse(base).partition("[")[0] for base in node.bases]
                bases[name] = [names.get(text, f"{module}.{text}") for text in texts]
                own[name] = {
                    part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
                }

    def whole(name: str) -> set[str]:
        return own[name].union(*(whole(base) for base in bases[name] if base in own and base != name))

    return {name: whole(name) for name in own}


def _module(file: Path, sources: Path) -> str:
    return ".".join(file.relative_to(sources).with_suffix("").parts)


def _imported(tree: ast.Module, module: str) -> dict[str, str]:
    """Return what the names that a module imports stand for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*package, *filter(None, [node.module])])
            found.update({alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names})
    return found


def too_large(sources: Path) -> dict[str, int]:
    """Find the classes with more methods than they may have, and how many they have."""
    found = {name: len(names) for name, names in methods(sources).items()}
    return {name: count for name, count in found.items() if count > _most(name)}


def _most(name: str) -> int:
    return MORE.get(name.rpartition(".")[2], MOST)


def main(sources: Path = ROOT / "src") -> int:
    """Name the classes that are too large; the exit status: 0, or 1 where there is one."""
    found = too_large(sources)
    for name, count in sorted(found.items()):
        print(f"{name} has {count} methods with what it inherits, {_most(name)} may be: let it have a part")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
