"""`iotio run --reload`: a process that serves, and this one, which replaces it when a file changes.

This process holds the listening sockets, so devices and browsers that come during a restart wait instead of being
refused. The server is told to end by the end of a pipe, not by a signal: at Ctrl-C the terminal signals both processes,
and to the server a second signal means "at once".
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import TYPE_CHECKING

import click

from ..hosts.signals import handling, is_repeated
from .serve import serve
from .settings import Settings

if TYPE_CHECKING:
    from ..hosts.native.server import NativeServer

__all__ = ["changed", "snapshot", "supervise"]

_PAUSE = 0.25  # seconds between two looks at the files
_SHARE = 5  # a look may take a fifth of the time, so that a large folder does not keep a small machine busy
_SETTLE = 0.1  # seconds without a change, until which a file may still be being written
_SETTLE_LOOKS = 20
_PATIENCE = 15.0  # seconds for a server to end: more than its own deadlines for devices, requests and handlers
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})

Files = dict[str, tuple[int, int]]
"""Path to time of the last change, in nanoseconds, and size."""


def supervise(settings: Settings, sockets: list[socket.socket], folders: Iterable[str]) -> int:
    """Serve, again after each change, until Ctrl-C or SIGTERM.

    Args:
        settings: what to serve, and how.
        sockets: listening.
        folders: where .py files are watched.

    Returns:
        The exit status.
    """
    return _Supervisor(settings, sockets, folders).run()


def snapshot(folders: Iterable[str]) -> Files:
    """Return all .py files below the folders, without hidden folders and those that hold installed packages."""
    found: Files = {}
    for top in folders:
        for folder, names, files in os.walk(top):
            if "pyvenv.cfg" in files:
                names.clear()
                continue
            names[:] = [name for name in names if not name.startswith(".") and name not in _SKIPPED]
            for file in files:
                if file.endswith(".py"):
                    path = os.path.join(folder, file)
                    with contextlib.suppress(OSError):  # gone in this moment
                        status = os.stat(path)
                        found[path] = (status.st_mtime_ns, status.st_size)
    return found


def changed(before: Files, after: Files) -> str | None:
    """Return a file that was changed, added or removed; None if there is none."""
    return min((path for path, _ in before.items() ^ after.items()), default=None)


class _Supervisor:
    def __init__(self, settings: Settings, sockets: list[socket.socket], folders: Iterable[str]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._folders = list(dict.fromkeys(folders))
        self._told = False  # to end, by a signal
        self._failed = False  # the server has, and that was said
        self._process: SpawnProcess | None = None

    def run(self) -> int:
        with handling(self._on_signal):
            while True:
                files = snapshot(self._folders)  # before the start: what changes while the program is loaded counts
                pipe = self._start()
                try:
                    file = self._watch(files)
                finally:
                    self._stop(pipe)
                if file is None or self._told:
                    return 0
                click.echo(f"{os.path.relpath(file)} has changed: restarting", err=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """End the server in order at the first signal, and all at once at the second."""
        if self._told and not is_repeated(number):
            if self._process is not None:
                self._process.kill()
            os._exit(128 + number)
        self._told = True

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        theirs, ours = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_serve, args=(self._settings, self._sockets, theirs, _fileno_of_stdin()), name="iotio-server"
        )
        self._process.start()
        self._failed = False
        theirs.close()
        return ours

    def _watch(self, files: Files) -> str | None:
        """Wait for a change; None when it is time to end."""
        pause = _PAUSE
        while not self._told:
            if self._has_ended(pause):
                return None
            began = time.monotonic()
            file = changed(files, snapshot(self._folders))
            if file is not None:
                self._settle()
                return file
            pause = max(_PAUSE, _SHARE * (time.monotonic() - began))
        return None

    def _has_ended(self, pause: float) -> bool:
        """Wait a little. Returns whether the server was ended in order; one that failed may still be mended."""
        assert self._process is not None
        if self._failed:
            time.sleep(pause)
            return False
        wait([self._process.sentinel], pause)
        status = self._status()
        if status:
            self._failed = True
            click.echo("The server has ended. It starts again when a file changes; Ctrl-C ends this.", err=True)
        return status == 0

    def _status(self) -> int | None:
        """Return the exit status of the server; None while it runs."""
        assert self._process is not None
        return self._process.exitcode

    def _settle(self) -> None:
        """Wait until an editor or a checkout has finished."""
        before = snapshot(self._folders)
        for _ in range(_SETTLE_LOOKS):
            time.sleep(_SETTLE)
            after = snapshot(self._folders)
            if changed(before, after) is None:
                return
            before = after

    def _stop(self, pipe: Connection) -> None:
        assert self._process is not None
        pipe.close()
        self._process.join(_PATIENCE)
        if self._status() is None:
            click.echo(f"The server has not ended within {_PATIENCE:g} s; it is killed.", err=True)
            self._process.kill()
            self._process.join()


def _fileno_of_stdin() -> int | None:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError):  # there is none
        return None


def _serve(settings: Settings, sockets: list[socket.socket], told: Connection, stdin: int | None) -> None:
    """Serve, in a process of its own. It ends when the pipe does, with the process at its other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the server has a handler, Ctrl-C is the other process's
    if stdin is not None:
        sys.stdin = os.fdopen(stdin)  # for breakpoint() in a handler; multiprocessing has taken it away
    servers: list[NativeServer] = []
    lock = threading.Lock()

    def wait_for_the_end() -> None:
        with contextlib.suppress(EOFError, OSError):
            told.recv_bytes()
        with lock:
            if not servers:
                os._exit(0)  # it is still being loaded
            servers[0].should_exit = True

    def started(server: NativeServer) -> None:
        with lock:
            servers.append(server)

    threading.Thread(target=wait_for_the_end, name="iotio-reload", daemon=True).start()
    try:
        serve(settings, sockets, on_start=started)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
