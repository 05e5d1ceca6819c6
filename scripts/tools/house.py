"""Draw the packages and modules of src/ in layers, from what they import, into CONTRIBUTING.md.

Needs grimp, which comes with import-linter. With --fix the drawing is written, without it is compared.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import grimp

from scripts.tools.environments import ROOT

__all__ = ["drawing", "layers", "main", "with_drawing"]

FILE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- the house -->\n", "<!-- end of the house -->\n"
ROOTS = ("iotio", "iotio_client", "iotio_protocol")
LEFT_OUT = ("compat", "migrations", "__main__")
WIDTH = 110


def layers(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Sort names into layers, the top first: each stands above all that it imports.

    Raises:
        ValueError: they import each other in a circle.
    """
    found: list[list[str]] = []
    left = dict(imports)
    while left:
        lowest = sorted(name for name, needs in left.items() if not needs & left.keys() - {name})
        if not lowest:
            raise ValueError(f"these import each other in a circle: {', '.join(sorted(left))}")
        found.insert(0, lowest)
        for name in lowest:
            del left[name]
    return found


def _package(module: str) -> str:
    """Where a module is drawn: iotio by its packages, the others whole."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "iotio" and len(parts) > 1 else parts[0]


def drawing() -> str:
    """Draw them: one paragraph for each layer, with the modules of each package."""
    sys.path.insert(0, str(ROOT / "src"))  # what is installed may be a build, with modules that no source has
    try:
        graph = grimp.build_graph(*ROOTS, cache_dir=None)
    finally:
        sys.path.remove(str(ROOT / "src"))
    modules = sorted(name for name in graph.modules if not set(name.split(".")) & set(LEFT_OUT))
    imports: dict[str, set[str]] = {_package(name): set() for name in modules}
    members: dict[str, list[str]] = {name: [] for name in imports}
    for name in modules:
        package = _package(name)
        if name != package:
            members[package].append(name.removeprefix(f"{package}."))
        for other in graph.find_modules_directly_imported_by(name):
            if other in modules and _package(other) != package:
                imports[package].add(_package(other))
    parts = []
    for layer in layers(imports):
        lines = []
        for name in layer:
            lines.append(name)
            lines += textwrap.wrap("  ".join(members[name]), WIDTH, initial_indent="    ", subsequent_indent="    ")
        parts.append("\n".join(lines))
    body = f"\n{'-' * WIDTH}\n".join(parts)
    return f"```text\n{body}\n```\n"


def with_drawing(text: str, block: str) -> str:
    """Put the drawing between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the marks of the drawing are missing in {FILE.name}")
    return before + BEGIN + block + END + after


def main(arguments: Sequence[str], file: Path = FILE) -> int:
    """Compare or write it; the exit status: 0, or 1 where the file has another one."""
    text = file.read_text(encoding="utf-8")
    wanted = with_drawing(text, drawing())
    if text == wanted:
        return 0
    if arguments == ["--fix"]:
        file.write_text(wanted, encoding="utf-8")
        return 0
    print(f"the drawing in {file.name} is not that of the imports; scripts/check --fix writes it")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
