"""Build the documentation into docs/_build/html. A warning is an error."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from scripts.tools.environments import ROOT, SetupError, project_environment, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Build it; the exit status is that of Sphinx."""
    argparse.ArgumentParser(prog="scripts/docs", description=__doc__).parse_args(arguments)
    try:
        python = project_environment("dev")
    except SetupError as error:
        print(f"scripts/docs: {error}", file=sys.stderr)
        return 1
    out = ROOT / "docs" / "_build" / "html"
    sphinx = [str(python), "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    status = subprocess.run([*sphinx, str(ROOT / "docs"), str(out)], cwd=ROOT).returncode
    if status == 0:
        say(f"built: {out / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
