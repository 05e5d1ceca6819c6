"""Start a server on its core, put the load on it from the other, read what came of it. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from bench.servers import Launch, Server
from bench.work import CONNECT_SECONDS, HOLD_SECONDS, Work, arguments

__all__ = ["Cores", "Failed", "Running", "choose_cores", "measure", "raise_file_limit"]

READY_SECONDS = 30.0
"""Until a server takes connections."""

QUIET_SECONDS = 5.0
"""Until a server has done what its last devices left it to do; then the next one is measured anyway."""

QUIET_STEP = 0.04
"""Seconds between looks at its processor time, which is counted in steps of 0.01 s."""

SPARE_SECONDS = 15.0
"""For the load generator beyond what its own times add up to; it ends itself before."""


class Failed(Exception):
    """There is no figure; the text says why."""


class Cores:
    """Which processor cores the server and the load generator run on; empty sets pin nothing."""

    def __init__(self, server: set[int], load: set[int]) -> None:
        self.server = server
        self.load = load

    @property
    def apart(self) -> bool:
        """Whether the load generator has a core to itself, and may use all of it."""
        return bool(self.server) and bool(self.load) and not self.server & self.load

    def __str__(self) -> str:
        return f"server on core {_names(self.server)}, load on core {_names(self.load)}"


def _names(cores: set[int]) -> str:
    return ",".join(map(str, sorted(cores))) or "any"


def choose_cores() -> Cores:
    """The first and the last core that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores({cores[0]}, {cores[-1]})


@contextlib.contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """What is started inside runs on these cores: a child inherits them."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> int:
    """Let this process and its children open as many files as they may; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _environment(launch: Launch) -> dict[str, str]:
    """Ours, less a path that would give a peer our package in the place of its own."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **launch.environment}


class Running:
    """A server that runs, as a context; it and its children are killed at the end.

    Args:
        launch: how it is started.
        cores: where it runs.
        store: whether it gets the URL of a new SQLite file, which is deleted at the end.

    Raises:
        Failed: it ended, or took no connection in time; with the end of what it said.
    """

    def __init__(self, launch: Launch, cores: Cores, *, store: bool = False) -> None:
        self._launch = launch
        self._cores = cores
        self._store = tempfile.TemporaryDirectory(prefix="iotio-bench-") if store else None
        self.port = _free_port()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        command = [str(self.port) if word == "PORT" else word for word in self._launch.command]
        if self._store is not None:
            command.append(f"sqlite:///{self._store.name}/iotio.db")
        try:
            with _on(self._cores.server):
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=self._said,
                    stderr=subprocess.STDOUT,
                    env=_environment(self._launch),
                    start_new_session=True,  # Ctrl-C is ours; and its children can be killed with it
                )
            self._wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Failed(f"the server ended with {self._process.returncode}: {self._tail()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise Failed(f"the server took no connection within {READY_SECONDS:.0f} s: {self._tail()}")

    def _tail(self) -> str:
        self._said.seek(0)
        return self._said.read()[-500:].decode(errors="replace").strip() or "it said nothing"

    def wait_quiet(self) -> None:
        """Wait until it uses no processor time, so that it does not disturb the next one."""
        deadline = time.monotonic() + QUIET_SECONDS
        used = self._used()
        while time.monotonic() < deadline:
            time.sleep(QUIET_STEP)
            before, used = used, self._used()
            if used == before:
                return

    def _used(self) -> int:
        try:
            words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            raise Failed(f"the server has ended: {self._tail()}") from None
        return int(words[11]) + int(words[12])

    def close(self) -> None:
        """Kill it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._said.close()
        if self._store is not None:
            self._store.cleanup()


def measure(
    load: Path, running: Running, server: Server, work: Work, cores: Cores, *, seconds: float, warm: float
) -> dict[str, float]:
    """Put one kind of work on a server.

    Returns:
        The figures by the names of the work's metrics, and "load_cpu" and "server_cpu" (1.0: a whole core).

    Raises:
        Failed: a device could not connect, was closed, or got something else than it should.
    """
    command = [str(load), *arguments(work, work.wire or server.wire, server.device_type, seconds, warm)]
    command += ["-p", str(running.port), "-s", str(running.pid)]
    if cores.apart:
        command.append("-b")
    bound = CONNECT_SECONDS + HOLD_SECONDS + warm + seconds + SPARE_SECONDS
    with _on(cores.load):
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=bound)
        except subprocess.TimeoutExpired:
            raise Failed(f"the load generator did not end within {bound:.0f} s") from None
    running.wait_quiet()
    return read(done.stdout, done.stderr, work)


def read(out: str, errors: str, work: Work) -> dict[str, float]:
    """The figures in what the load generator printed. Raises Failed: there are none that count."""
    try:
        said = json.loads(out)
    except ValueError:
        raise Failed(f"the load generator said {(out + errors).strip()[-300:]!r}") from None
    if "fail" in said:
        raise Failed(said["fail"])
    wrong = {"err_conn": "refused", "err_close": "closed", "err_proto": "wrong answers"}
    problems = [f"{said[key]} {words}" for key, words in wrong.items() if said[key]]
    if said.get("connected", work.devices) < work.devices:
        problems.append(f"{said['connected']} of {work.devices} connected")
    if problems:
        raise Failed(", ".join(problems))
    figures = {metric.name: float(said[metric.key]) for metric in work.metrics}
    if any(figures[metric.name] <= 0 for metric in work.metrics if metric.is_rate):
        raise Failed("no message came back")
    return {**figures, **{key: said[key] for key in ("load_cpu", "server_cpu") if key in said}}
