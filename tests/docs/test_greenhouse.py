"""A reader does what docs/tutorial/greenhouse.md says, and nothing else; what is printed is compared with the page.

The reader writes each program into the file that the text before it names, runs the commands, stops programs where the
text says so, and waits for the lines that a block of output shows. Only the port is another one.
"""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.tools.readme import ROOT, blocks, on_port
from tests.support.hosts import eventually
from tests.support.processes import Program, free_port, python_program, wait_until_listening
from tests.support.strict_types import passes_mypy

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "tutorial" / "greenhouse.md"
WAIT_SECONDS = 30.0
"""For a line. A device whose connections are short waits longer and longer before it connects again."""

INSTALLING = ("git clone ", "python3 -m venv ", "pip install ")
STOP = re.compile(r"Stop ((?:(?:, | and )?the \w+)+) with Ctrl-C")
WHERE = re.compile(r"(Save this as|Add this at the end of|In) `(\w+\.py)`")


def parts() -> Iterator[tuple[int, str, str]]:
    """The page from its beginning: line, kind ("prose", or the language of a block) and text."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    before = 0
    for block in blocks(PAGE):
        yield before + 1, "prose", " ".join(lines[before : block.line - 2])
        yield block.line, block.language, block.code
        before = block.line + block.code.count("\n")


def fits(shown: str, printed: str) -> bool:
    """Whether something that was printed has what the page shows; … stands for anything."""
    return re.search(".*".join(map(re.escape, shown.split("…"))), printed, re.DOTALL) is not None


def replaced(program: str, part: str) -> str:
    """The program with a part in the place of the statement that defines the same name."""

    def defined(statement: ast.stmt) -> set[str]:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
            return {statement.name}
        return {one.id for one in ast.walk(statement) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}

    new = set().union(*(defined(statement) for statement in ast.parse(part).body))
    (old,) = [statement for statement in ast.parse(program).body if defined(statement) & new]
    assert old.end_lineno is not None
    lines = program.splitlines()
    return "\n".join([*lines[: old.lineno - 1], part.rstrip("\n"), *lines[old.end_lineno :]]) + "\n"


class Reader:
    """Somebody who has the page, a folder and some terminals.

    Args:
        folder: for the programs.
        stack: ends the programs.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._port = free_port()
        self._file = ""
        self._how = ""
        self._programs: dict[str, Program] = {}
        self._seen: dict[str, int] = {}  # how many lines of a program are behind the one that was shown last

    def do(self, kind: str, text: str) -> None:
        """Do what a part of the page says."""
        {"prose": self._read, "python": self._write, "console": self._type, "text": self._compare}[kind](text)

    def _read(self, text: str) -> None:
        for names in STOP.findall(text):
            for name in re.findall(r"the (\w+)", names):
                program = self._programs.pop(name)
                program.signal(signal.SIGINT)
                assert program.wait() == 0, program.output
        for self._how, self._file in WHERE.findall(text):
            pass

    def _write(self, code: str) -> None:
        file = self.folder / self._file
        if self._how == "Save this as":
            assert not file.exists()
            file.write_text(on_port(code, self._port) if "5000" in code else code, encoding="utf-8")
            return
        program = file.read_text(encoding="utf-8")
        new = replaced(program, code) if self._how == "In" else f"{program}\n\n{code}"
        file.write_text(new, encoding="utf-8")

    def _type(self, lines: str) -> None:
        for command in re.split(r"^\$ ", lines, flags=re.MULTILINE)[1:]:
            command, _, shown = command.partition("\n")
            if command == "iotio run server.py":
                wait_until_listening(self._port, self._start("server", [sys.executable, "-m", *command.split()]))
            elif command.startswith("python "):
                file = command.removeprefix("python ")
                self._start(file.removesuffix(".py"), python_program(self.folder / file))
            elif command.startswith("curl "):
                method = "POST" if "-X POST " in command else "GET"
                assert self._get(command.rpartition("http://localhost:5000")[2], method) == shown.rstrip("\n")
            elif command == "pytest -q":
                done = subprocess.run(
                    [sys.executable, "-m", "pytest", "-q"], cwd=self.folder, capture_output=True, text=True, timeout=60
                )
                assert fits(shown, done.stdout), done.stdout + done.stderr
            else:
                assert command.startswith(INSTALLING), command  # that was done before the tests

    def _start(self, name: str, command: list[str | Path]) -> Program:
        assert name not in self._programs, f"the {name} runs already"
        environment = {"IOTIO_HOST": "127.0.0.1", "IOTIO_PORT": str(self._port)}
        program = self._stack.enter_context(Program(command, environment=environment, folder=self.folder))
        self._programs[name] = program
        self._seen[name] = 0
        return program

    def _get(self, path: str, method: str = "GET") -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.read(), "utf-8")

    def _compare(self, lines: str) -> None:
        for line in lines.splitlines():
            name, shown = line.replace("localhost:5000", f"localhost:{self._port}").split(" | ")
            if name == "page":
                self._compare_page(shown)
            else:
                self._compare_program(name, shown)

    def _compare_program(self, name: str, shown: str) -> None:
        program = self._programs[name]
        found = program.wait_line(lambda line: fits(shown, line), WAIT_SECONDS, start=self._seen[name])
        lines = program.lines
        self._seen[name] = next(n for n in range(self._seen[name], len(lines)) if lines[n] is found) + 1

    def _compare_page(self, shown: str) -> None:
        def rows() -> list[str]:
            return [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in self._get("/").splitlines()]

        eventually(lambda: any(fits(shown, row) for row in rows()), WAIT_SECONDS)


def test_the_reader_gets_what_the_page_shows(tmp_path: Path) -> None:
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        for line, kind, text in parts():
            try:
                reader.do(kind, text)
            except Exception as error:
                error.add_note(f"{PAGE.name}:{line}:\n{text}")
                raise
    assert sorted(file.name for file in tmp_path.glob("*.py")) == [
        "lamp.py",
        "sensor.py",
        "server.py",
        "test_server.py",
    ]
    passes_mypy(tmp_path, "--config-file=", "--follow-imports=silent", ".")
