"""Check format, lint, types (mypy, strict), layers (import-linter), and that each module has a test file.

Also that CONTRIBUTING.md draws the packages as they import each other. All six run, also when one fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from scripts.tools.environments import ROOT, SetupError, project_environment, say


def commands(fix: bool) -> dict[str, list[str]]:
    """Name and arguments of each check."""
    if fix:
        style = {"format": ["ruff", "format", "."], "lint": ["ruff", "check", "--fix", "."]}
    else:
        style = {"format": ["ruff", "format", "--check", "."], "lint": ["ruff", "check", "."]}
    return {
        **style,
        "types": ["mypy"],
        "layers": ["lint-imports"],
        "test files": ["python", "-m", "scripts.tools.modules"],
        "class sizes": ["python", "-m", "scripts.tools.classes"],
        "house": ["python", "-m", "scripts.tools.house", *(["--fix"] if fix else [])],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; the exit status: 0, or 1 where one failed."""
    parser = argparse.ArgumentParser(prog="scripts/check", description=__doc__)
    parser.add_argument("--fix", action="store_true", help="format, repair what the linter can, draw the packages")
    options = parser.parse_args(arguments)
    try:
        bin_folder = project_environment("dev").parent
    except SetupError as error:
        print(f"scripts/check: {error}", file=sys.stderr)
        return 1
    failed = []
    for name, (program, *rest) in commands(options.fix).items():
        say(f"{name}: {program} {' '.join(rest)}")
        if subprocess.run([str(bin_folder / program), *rest], cwd=ROOT).returncode:
            failed.append(name)
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
