"""Programs as subprocesses, driven by lines with deadlines.

A test waits for a line, never for a time; where it does not come, the error shows all that the program said.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_SECONDS = 20.0
"""Until a program has imported its packages and says its first word, on a busy machine."""

STOP_SECONDS = 10.0
"""Until a program that was told to end has ended."""


_PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONFAULTHANDLER": "1"}
"""For a Python program: what it says comes at once, and SIGABRT makes it say where each of its threads is."""


class ProgramError(AssertionError):
    """A program did not do what the test waits for; the text holds what it said."""


class Program:
    """A running program; its standard output and error are read together, line by line.

    Args:
        command: program and arguments.
        environment: added to that of the test run.
        folder: working directory.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            cwd=folder,
            env={**os.environ, **_PYTHON, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, name=f"reader of {self.command[-1]}", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):  # `kill` closes the pipe where a child of the program holds it open
            for line in self.process.stdout:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def lines(self) -> list[str]:
        """What it has said so far."""
        with self._changed:
            return list(self._lines)

    @property
    def output(self) -> str:
        """What it has said so far, as one text."""
        return "\n".join(self.lines)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def wait_line(self, wanted: str | Callable[[str], bool], timeout: float = 10.0, *, start: int = 0) -> str:
        """The first line from number `start` on that holds the wanted text, or that the function accepts.

        Raises:
            ProgramError: no such line within `timeout` seconds, or the program ended without it.
        """
        accepts = (lambda line: wanted in line) if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self._lines[start:]:
                    if accepts(line):
                        return line
                start = len(self._lines)
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    break
                self._changed.wait(left)
        what = repr(wanted) if isinstance(wanted, str) else "that fits"
        raise ProgramError(self._story(f"no line {what} within {timeout} s"))

    def _story(self, problem: str) -> str:
        state = "runs" if self.alive else f"ended with {self.process.returncode}"
        return f"{problem}; {' '.join(self.command)} {state} and said:\n{self.output}"

    def send_line(self, text: str) -> None:
        """Write one line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """Wait for its end; the exit status, negative for a signal.

        Raises:
            ProgramError: it still runs after `timeout` seconds; the text tells where its threads are.
        """
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            self._reader.join(STOP_SECONDS)
            raise ProgramError(self._story(f"did not end within {timeout} s")) from None
        self._reader.join(STOP_SECONDS)
        return status

    def terminate(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM, and wait for its end; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it whatever it does, and close its pipes. Harmless when called twice."""
        if self.alive:
            self.process.kill()
        self.process.wait()
        self._reader.join(STOP_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                # A broken pipe: what was written last was never read.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class JsonProgram(Program):
    """A program that speaks one JSON object a line, in both directions; other lines are for people.

    Each object has the key "event" (what happened) or, towards the program, "do".
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(command, environment=environment, folder=folder)
        self._next = 0

    def do(self, command: str, **values: Any) -> None:
        """Tell it to do something."""
        self.send_line(json.dumps({"do": command, **values}))

    def expect(self, event: str, timeout: float = START_SECONDS, **values: Any) -> dict[str, Any]:
        """The next object of this event with these values, after the one that was expected last.

        Objects in between are passed over.

        Raises:
            ProgramError: it did not come in time.
        """

        def fits(line: str) -> bool:
            found = _parse(line)
            return found is not None and found.get("event") == event and values.items() <= found.items()

        line = self.wait_line(fits, timeout, start=self._next)
        lines = self.lines
        self._next = next(n for n in range(self._next, len(lines)) if lines[n] is line) + 1
        found = _parse(line)
        assert found is not None
        return found

    def seen(self, event: str) -> list[dict[str, Any]]:
        """All objects of this event so far."""
        parsed = (_parse(line) for line in self.lines)
        return [found for found in parsed if found is not None and found.get("event") == event]


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def free_port() -> int:
    """A TCP port that nothing listens on now, for programs that cannot take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int, program: Program, timeout: float = START_SECONDS) -> None:
    """Return when something accepts connections on `port`.

    Raises:
        ProgramError: `program` ended before, or it took longer than `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not program.alive:
            program.wait()
            raise ProgramError(f"ended before it listened:\n{program.output}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # there is nothing to wait on: the program does not tell
        else:
            return
    raise ProgramError(f"does not listen on {port} after {timeout} s:\n{program.output}")


def python_program(file: Path, *arguments: str, python: str | Path = sys.executable) -> list[str | Path]:
    """The command that runs a Python file."""
    return [python, "-u", file, *arguments]
