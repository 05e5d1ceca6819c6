"""Do what README.md and the tutorial say, with nothing else: a fresh clone, Debian's Python, a bare environment.

What is printed is compared with what they show: there `...` stands for anything within a line, and lines of a program
that they leave out may stand between those that they show.
By hand: `python -m tests.docs.stranger FOLDER`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.tools.demo import is_free
from scripts.tools.readme import QUICKSTART_PORT, README, ROOT, Block, blocks
from tests.support.processes import Program, ProgramError, free_port

FIRST_HOUR = [one for one in blocks(README) if one.heading in ("The first hour", "server.py", "device.py")]
"""What the README has under its first heading."""
TUTORIAL = blocks(ROOT / "docs" / "tutorial" / "first-hour.md")
"""It goes on with the environment of the README. Each program stands under a heading that is the name of its file."""

PATH = "/usr/bin:/bin"
"""What Debian installs: no Python that somebody has built, and no environment."""

OF_PIP = re.compile(r"PIP_\w+|SSL_CERT_\w+|https?_proxy|no_proxy", re.IGNORECASE)
"""Variables that tell where this machine gets packages from."""

INSTALL_SECONDS = 500.0
LINE_SECONDS = 30.0
SERVES = ("iotio run ", "python ")
"""Commands that go on until Ctrl-C; each has a terminal of its own."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command of a page, and the lines that stand below."""

    command: str
    shown: tuple[str, ...]


def typed(block: Block) -> list[Typed]:
    """The commands of a console block."""
    parts = re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]
    return [Typed(command, tuple(shown)) for command, *shown in (part.rstrip("\n").split("\n") for part in parts)]


def fits(shown: str, line: str) -> bool:
    """Whether a line is what a page shows."""
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), line) is not None


def missing() -> str | None:
    """Why this machine cannot be the stranger's; None where it can."""
    for program in ("python3", "git", "curl"):
        if shutil.which(program, path=PATH) is None:
            return f"{program} is not in {PATH}"
    code = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run(["python3", "-c", code], env={"PATH": PATH}, capture_output=True, check=False).returncode:
        return f"the python3 in {PATH} is not 3.11 or newer with venv"
    return None


class Stranger:
    """Somebody at a machine who has the pages before them.

    Args:
        folder: where they work; empty. The port is that of the pages, or a free one where that is taken.
        compiled: whether the packages are compiled, which takes some minutes; else installed as plain Python.
    """

    def __init__(self, folder: Path, *, compiled: bool = False) -> None:
        self._folder = folder
        self._port = QUICKSTART_PORT
        passed = {name: value for name, value in os.environ.items() if OF_PIP.fullmatch(name)}
        self._environment = {
            **passed,
            "PATH": PATH,
            "HOME": os.environ.get("HOME", str(folder)),  # pip's own file may be there
            "PYTHONUNBUFFERED": "1",  # as at a terminal
            **({} if compiled else {"IOTIO_PURE": "1"}),
        }

    def work(self, page: Sequence[Block]) -> None:
        """Go through a page.

        Raises:
            ProgramError: something else is printed than it shows, or a command fails.
        """
        programs = [block for block in page if block.language == "python"]
        with ExitStack() as stack:
            self._terminals: dict[str, Program] = {}
            for block in page:
                if block is programs[0]:  # all that takes long is over
                    self._port = QUICKSTART_PORT if is_free(QUICKSTART_PORT) else free_port()
                if block in programs:
                    (self._folder / block.heading).write_text(self._on_port(block.code), encoding="utf-8")
                elif block.language == "console":
                    self._type(typed(block), stack)
            for command in reversed(list(self._terminals)):
                self._interrupt(command)

    def _on_port(self, text: str) -> str:
        return text.replace(str(QUICKSTART_PORT), str(self._port))

    def _type(self, commands: list[Typed], stack: ExitStack) -> None:
        """Type a block. What it starts again has been ended by Ctrl-C before, as the text above it says."""
        for one in commands:
            if one.command in self._terminals:
                self._interrupt(one.command)
        for one in commands:
            if one.command.startswith(SERVES):
                terminal = Program(self._shell(f"exec {one.command}"), folder=self._folder)
                self._terminals[one.command] = stack.enter_context(terminal)
                self._compare(one.command, one.shown[:1])  # a server listens before a device is started
            else:
                self._run(one)
        for one in commands:
            if one.command in self._terminals:
                self._compare(one.command, one.shown)

    def _shell(self, command: str) -> list[str]:
        """A new terminal in which the environment is active, if it is made already."""
        active = ". venv/bin/activate && " if (self._folder / "venv").exists() else ""
        bare = [f"{name}={value}" for name, value in self._environment.items()]
        port = [] if self._port == QUICKSTART_PORT else [f"IOTIO_PORT={self._port}"]
        return ["/usr/bin/env", "-i", *bare, *port, "sh", "-c", active + command]

    def _run(self, one: Typed) -> None:
        command = self._on_port(one.command.replace("<repository>", str(ROOT)))
        with Program(self._shell(command), folder=self._folder) as program:
            status = program.wait(INSTALL_SECONDS)
            if status or (one.shown and program.output.splitlines()[-len(one.shown) :] != list(one.shown)):
                raise ProgramError(f"{command!r} ended with {status} and printed:\n{program.output}")

    def _compare(self, command: str, shown: tuple[str, ...]) -> None:
        """Wait until a program has printed all of this, in this order."""
        terminal, start = self._terminals[command], 0
        for text in map(self._on_port, shown):
            line = terminal.wait_line(partial(fits, text), LINE_SECONDS, start=start)
            start = terminal.lines.index(line, start) + 1

    def _interrupt(self, command: str) -> None:
        terminal = self._terminals.pop(command)
        terminal.signal(signal.SIGINT)
        status = terminal.wait()
        if status or re.search(r"Traceback| (WARNING|ERROR) ", terminal.output):
            raise ProgramError(f"{command!r} ended with {status} and printed:\n{terminal.output}")


def main() -> None:
    """Be the stranger, from the command line."""
    if reason := missing():
        raise SystemExit(reason)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    stranger = Stranger(folder, compiled=True)
    for page in (FIRST_HOUR, TUTORIAL):
        stranger.work(page)


if __name__ == "__main__":
    main()
