"""Name the modules of src/ that have no test file of their own. Standard library only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from scripts.tools.environments import ROOT

__all__ = ["missing", "sources", "test_file"]

EXEMPT = ("__main__", "compat", "migrations")

PLACES = (
    ("iotio_protocol.endpoints", "endpoints"),
    ("iotio_protocol", "protocol"),
    ("iotio_client", "client"),
    ("iotio", ""),
)
"""Package and folder of tests/; the first that fits counts."""


def test_file(module: str, tests: Path) -> Path:
    """Return where the test file of a module is: test_NAME.py, at the same place below the folder of its package."""
    package, place = next((package, place) for package, place in PLACES if module.startswith(f"{package}."))
    *between, name = module.removeprefix(f"{package}.").split(".")
    return tests.joinpath(place, *between, f"test_{name}.py")


def sources(folder: Path) -> dict[str, Path]:
    """Find the modules below a folder that need a test file, and where they are."""
    found = {}
    for file in sorted(folder.rglob("*.py")):
        parts = list(file.relative_to(folder).with_suffix("").parts)
        if any(part in EXEMPT for part in parts):
            continue
        if parts[-1] == "__init__":
            parts.pop()
            if len(parts) == 1 or not _defines(file):
                continue
        found[".".join(parts)] = file
    return found


def _defines(file: Path) -> bool:
    """Whether a file has code of its own, and not only names of others."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in ast.parse(file.read_text(encoding="utf-8")).body)


def missing(root: Path = ROOT) -> set[str]:
    """Find the modules without a test file."""
    return {module for module in sources(root / "src") if not test_file(module, root / "tests").exists()}


def main(root: Path = ROOT) -> int:
    """Name the modules without a test file; the exit status: 0, or 1 where there is one."""
    found = sorted(missing(root))
    for module in found:
        print(f"{module} has no test file of its own")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
