"""Run the test file of each module on its own, and name the modules of which it runs too few lines.

A line that only tests of other modules run is tested by accident. The sources run as they stand, not compiled. It takes
about a quarter of an hour, so it is no part of scripts/check; with names of modules it runs the tests of these.
"""

from __future__ import annotations

import _thread
import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.tools import modules
from scripts.tools.environments import ROOT, SetupError, project_environment, say

__all__ = ["Figure", "measure", "report"]

LIMIT = 70.0
"""Per cent of its lines that the test file of a module shall run."""

CHOSEN = "not (peers or conformance or load)"
"""Tests with these marks need other programs, or measure, which they cannot do here."""

SECONDS = 600.0
"""A test file takes less."""

SETTINGS = """
[run]
include = {include}
data_file = {data}
parallel = true
concurrency = thread
patch = subprocess, _exit, execv
sigterm = true
"""
"""Programs that a test starts count, too, however they end. Greenlets are not told apart: where coverage does that, it
now and then spins for ever when a thread ends; a few lines that run in greenlets are missed for it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How much of a module its own tests run.

    Attributes:
        module: its name.
        lines: how many lines it has that can be run.
        missing: those that were not.
        failed: whether a test failed, so that this is not to be relied on.
    """

    module: str
    lines: int
    missing: tuple[int, ...]
    failed: bool = False

    @property
    def share(self) -> float:
        """Per cent of the lines that were run."""
        return 100.0 * (1 - len(self.missing) / self.lines) if self.lines else 100.0

    def __str__(self) -> str:
        lines = f"; not run: {_ranges(self.missing)}" if self.missing else ""
        return f"{self.share:4.0f} %  {self.module}{' (a test failed)' if self.failed else ''}{lines}"


def _ranges(lines: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as 1-3, 7."""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def measure(python: Path, module: str, source: Path, tests: Path, root: Path = ROOT) -> Figure:
    """Run the test file of a module.

    Args:
        python: with the packages that tests need.
        module: its name.
        source: its file, below the folder src of `root`.
        tests: its test file.
        root: the folder of the project.
    """
    with TemporaryDirectory(prefix="coverage-") as name:
        folder = Path(name)
        settings = folder / "settings.ini"
        settings.write_text(SETTINGS.format(include=source, data=folder / "data"), encoding="utf-8")
        # An environment that takes its packages from another one has no .pth file of coverage's.
        (folder / "sitecustomize.py").write_text("import coverage\n\ncoverage.process_startup()\n", encoding="utf-8")
        path = os.pathsep.join((str(folder), str(root / "src"), str(ROOT)))  # the last for `-p`, below
        environment = {**os.environ, "PYTHONPATH": path, "COVERAGE_RCFILE": str(settings)}

        def run(*arguments: str, seconds: float = SECONDS) -> tuple[int, str]:
            try:
                done = subprocess.run(
                    [str(python), "-m", *arguments],
                    cwd=root,
                    env=environment,
                    timeout=seconds,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except subprocess.TimeoutExpired:
                return 1, f"no end after {seconds:.0f} s"
            return done.returncode, done.stdout

        status, output = run(
            *("coverage", "run", "-m", "pytest", "-q", "-m", CHOSEN),
            *("-p", __spec__.name, "-p", "no:cacheprovider", str(tests)),
        )
        if status:
            say(f"{module}: pytest ended with status {status}\n{output[-2000:]}")
        run("coverage", "combine", "-q")
        run("coverage", "json", "-q", "-i", "-o", str(folder / "report.json"))
        try:
            report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
            (found,) = report["files"].values()
        except (OSError, ValueError):  # it was not even imported
            size = len(source.read_text(encoding="utf-8").splitlines())
            return Figure(module, size, tuple(range(1, size + 1)), failed=bool(status))
    return Figure(module, found["summary"]["num_statements"], tuple(found["missing_lines"]), failed=bool(status))


def report(figures: Sequence[Figure], limit: float = LIMIT, *, everything: bool = False) -> int:
    """Print the modules of which too little is run, the worst first; the exit status: 1 if there is one, 0 if not."""
    low = [figure for figure in figures if figure.share < limit]
    for figure in sorted(figures if everything else low, key=lambda figure: (figure.share, figure.module)):
        print(figure)
    say(f"{len(low)} of {len(figures)} modules have less than {limit:g} % of their lines run by their own tests")
    return 1 if low else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status: 0, or 1 where a module has too few lines run or could not be measured."""
    parser = argparse.ArgumentParser(prog="scripts/coverage", description=__doc__)
    parser.add_argument("module", nargs="*", help="such as iotio.core.lane; all if none is named")
    parser.add_argument("--all", action="store_true", help="print every module, not only those below the limit")
    parser.add_argument("--limit", type=float, default=LIMIT, help="per cent of the lines (%(default)g)")
    options = parser.parse_args(arguments)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell: tests send Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    found = modules.sources(ROOT / "src")
    unknown = sorted(set(options.module) - set(found))
    if unknown:
        parser.error(f"no such module, or one that needs no test file: {', '.join(unknown)}")
    try:
        python = project_environment("dev")
    except SetupError as error:
        print(f"scripts/coverage: {error}", file=sys.stderr)
        return 1
    chosen = {module: found[module] for module in options.module or found}
    return report(_all(python, chosen), options.limit, everything=options.all)


def _all(python: Path, chosen: Mapping[str, Path]) -> list[Figure]:
    """Measure modules, two side by side: a run waits most of its time."""

    def one(module: str) -> Figure:
        tests = modules.test_file(module, ROOT / "tests")
        figure = measure(python, module, chosen[module], tests)
        say(f"{figure.share:4.0f} %  {module}")
        return figure

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, chosen))


# In pytest, where this module is a plugin.


def pytest_configure() -> None:
    """Have the bare threads of `iotio.core.primitives` traced, as coverage has those of `threading`."""
    start: Callable[..., int] = _thread.start_new_thread

    def traced(function: Callable[..., object], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        sys.settrace(threading.gettrace())
        function(*arguments, **keywords)

    def start_new_thread(
        function: Callable[..., object], arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> int:
        return start(traced, (function, arguments, keywords or {}))

    _thread.start_new_thread = start_new_thread


if __name__ == "__main__":
    sys.exit(main())
