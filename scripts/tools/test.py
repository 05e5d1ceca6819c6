"""Install all that the tests need and run them.

With no arguments: the original programs get their environments, and every test runs under the main Python, on the
project as `pip install ./client .` leaves it, compiled where there is a C compiler. Beside that, the tests that are
quick and need no such programs run on the sources as they stand under every other CPython from 3.11 up on this machine;
what these say is printed behind the rest.
With --quick: what to run while working, meant to take under three minutes on two idle cores. The quick tests on the
sources as they stand, under the main Python, with one host of a kind, in four runs side by side. It leaves out: the
compiled package, the other Pythons, the hosts that share all of their code with gevent's (gunicorn, patched, flask),
and the tests marked peers, conformance, load or slow.
With --full: all that is run with no arguments, with IOTIO_FULL=1 set for the tests that have a longer form. It is meant
for use outside CI, and takes longer than the run with no arguments.
With --prepare: the environments are made, and no test runs.
With arguments: pytest runs under the main Python with these arguments, on the sources as they stand; on the compiled
project if the first argument is --compiled.

The Python is the first of python3, python3.13, ... that will do; PYTHON=/path/to/python names another.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from scripts.tools import autobahn, debian
from scripts.tools.environments import (
    OLDEST,
    ROOT,
    Interpreter,
    SetupError,
    compiled_environment,
    interpreters,
    main_interpreter,
    project_environment,
    say,
)
from tests.peers import environments as peers

RUN_SECONDS = 1800.0
"""One run of pytest takes some minutes; one that is still there after this hangs, say on a thread left behind."""

QUICK = "not (peers or conformance or load or slow)"
LOAD = "load"
OTHER_HOSTS = "not (gunicorn] or [gunicorn or patched] or [patched or flask] or [flask)"
"""On the other Pythons one host of a kind: these share all of their code with gevent's, which does run there."""

FULL = "IOTIO_FULL"
"""The variable that asks tests for their longer form."""

EACH_HOST = ("tests/hosts/asgi", "tests/hosts/blocking", "tests/hosts/native")
DEVICES = ("tests/client", "tests/docs", "tests/examples", "tests/testing")

NO_CACHE = ("-p", "no:cacheprovider")  # what runs beside another run must not share its cache


def others() -> list[Interpreter]:
    """Find the supported Pythons of this machine but the main one."""
    main = main_interpreter()
    return [found for found in interpreters() if found.minor >= OLDEST and found.minor != main.minor]


def prepare_peers() -> None:
    """Make the environments of the original programs and of Autobahn, get other programs; say what is missing.

    Raises:
        SetupError: one could not be installed.
    """
    for reason in [*peers.prepare_all(), *debian.prepare()]:
        say(f"will be skipped: {reason}")
    try:
        autobahn.wstest()
    except autobahn.AutobahnUnavailable as reason:
        say(f"will be skipped: {reason}")


def prepare() -> tuple[Path, list[tuple[str, Path]]]:
    """Make every environment.

    Returns:
        The Python of the compiled project, and name and Python of each that the quick tests run on as well.

    Raises:
        SetupError: one could not be made.
    """
    main_interpreter()  # looks for all Pythons, once, before the threads want to know them
    with ThreadPoolExecutor(3) as pool:  # pip waits for the network a third of its time
        compiled = pool.submit(compiled_environment)
        plain = [(found.name, pool.submit(project_environment, "test", found)) for found in others()]
        if not plain:
            plain = [(f"{main_interpreter().name}, not compiled", pool.submit(project_environment, "dev"))]
        pool.submit(prepare_peers).result()
    return compiled.result(), [(name, python.result()) for name, python in plain]


def pytest(python: Path, name: str, arguments: Sequence[str], output: IO[bytes] | None = None) -> int:
    """Run pytest, its output into a file if there is one; its exit status, 1 where it had to be killed."""
    say(f"pytest on Python {name}")
    command = [str(python), "-m", "pytest", *arguments]
    start = time.monotonic()
    try:
        status = subprocess.run(
            command, cwd=ROOT, timeout=RUN_SECONDS, stdout=output, stderr=subprocess.STDOUT if output else None
        ).returncode
    except subprocess.TimeoutExpired:
        say(f"pytest hung and was killed after {RUN_SECONDS:.0f} s")
        status = 1
    say(f"Python {name}: {'passed' if status == 0 else f'status {status}'}, {time.monotonic() - start:.0f} s")
    return status


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest."""

    name: str
    python: Path
    arguments: tuple[str, ...]

    def __call__(self, output: IO[bytes] | None = None) -> int:
        """Run it; see `pytest`."""
        return pytest(self.python, self.name, self.arguments, output)


def beside(shown: Run, *hidden: Run) -> list[int]:
    """One run whose output is seen as it comes, and the others beside it; theirs is seen then."""
    with ThreadPoolExecutor(len(hidden)) as pool, ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile()) for _ in hidden]
        running = [pool.submit(run, file) for run, file in zip(hidden, files, strict=True)]
        statuses = [shown()]
        for future, file in zip(running, files, strict=True):
            statuses.append(future.result())
            file.seek(0)
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.flush()
    return statuses


def run_everything() -> int:
    """All tests on the main Python, the quick ones on the others; the first exit status that is not 0.

    A run of the quick tests waits two thirds of its time, so four share two processors; those of the hosts take as
    long as all others. The load tests measure: they come when those are over, beside tests that wait for programs most
    of the time.
    """
    compiled, plain = prepare()
    name = f"{main_interpreter().name}, compiled"
    statuses = beside(
        Run(f"{name}, quick tests of the hosts", compiled, ("-m", QUICK, "tests/hosts")),
        Run(f"{name}, the other quick tests", compiled, ("-m", QUICK, "--ignore", "tests/hosts", *NO_CACHE)),
        *(Run(other, python, ("-m", QUICK, "-k", OTHER_HOSTS, *NO_CACHE)) for other, python in plain),
    )
    statuses += beside(
        Run(f"{name}, load tests", compiled, ("-m", LOAD)),
        Run(f"{name}, all others", compiled, ("-m", f"not (({QUICK}) or {LOAD})")),
    )
    return next((status for status in statuses if status), 0)


def run_quick() -> int:
    """Run the quick tests on the plain sources, in four parts that take alike; the first status that is not 0."""
    python, name = project_environment("dev"), main_interpreter().name
    chosen = ("-m", QUICK, "-k", OTHER_HOSTS, *NO_CACHE)
    statuses = beside(
        Run(f"{name}, core and hosts", python, (*chosen, "tests/core", "tests/hosts", *without(*EACH_HOST))),
        Run(f"{name}, each host and the store", python, (*chosen, *EACH_HOST, "tests/store")),
        Run(f"{name}, devices and documents", python, (*chosen, *DEVICES)),
        Run(f"{name}, all others", python, (*chosen, *without("tests/core", "tests/hosts", "tests/store", *DEVICES))),
    )
    return next((status for status in statuses if status), 0)


def without(*folders: str) -> tuple[str, ...]:
    """Return the options of pytest that leave folders out."""
    return tuple(f"--ignore={folder}" for folder in folders)


def main(arguments: Sequence[str]) -> int:
    """Run the tests; the exit status is pytest's, or 1 where an environment could not be made."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: scripts/test [--quick | --full | --prepare | --compiled] [pytest argument ...]\n\n{__doc__}")
        return 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell: tests send Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if arguments == ["--prepare"]:
            prepare()
            return 0
        if arguments == ["--quick"]:
            return run_quick()
        if arguments == ["--full"]:
            os.environ[FULL] = "1"
            return run_everything()
        if arguments and arguments[0] == "--compiled":
            return pytest(compiled_environment(), f"{main_interpreter().name}, compiled", arguments[1:])
        if arguments:
            return pytest(project_environment("dev"), main_interpreter().name, arguments)
        return run_everything()
    except SetupError as error:
        print(f"scripts/test: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
