"""Start the quickstart's server and device, taken out of README.md, and show what they say to each other.

Makes the environment .venv on the first run. Goes on until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.tools import readme
from scripts.tools.environments import SetupError, project_environment, say

LISTEN_SECONDS = 20.0
"""Starting Python and importing gevent takes a second, on a small board a few."""

STOP_SECONDS = 5.0
"""A program that has not ended this long after SIGTERM is killed."""

SERVER_GOT = "Message from Client with ID 'demo-device': "
DEVICE_GOT = "Answer from the server: "

Line = tuple[str, str | None]


class DemoError(Exception):
    """The demo did not work; the text says why."""


class Program:
    """A Python program whose lines are printed with its name before them."""

    def __init__(self, name: str, python: Path, file: Path, lines: queue.Queue[Line]) -> None:
        self.name = name
        # A session of its own: Ctrl-C reaches the demo, which stops its programs in order.
        self.process = subprocess.Popen(
            [str(python), "-u", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines = lines
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put((self.name, line.rstrip("\n")))
        self._lines.put((self.name, None))

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL if that is not enough."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


def choose_port(wanted: int | None) -> int:
    """Choose the port to use: the wanted one, else 5000, else a free one.

    Raises:
        DemoError: the wanted one is taken.
    """
    if is_free(wanted or readme.QUICKSTART_PORT):
        return wanted or readme.QUICKSTART_PORT
    if wanted:
        raise DemoError(f"port {wanted} is taken; --port takes another one")
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = int(probe.getsockname()[1])
    say(f"port {readme.QUICKSTART_PORT} is taken, so this uses {port}")
    return port


def is_free(port: int) -> bool:
    """Whether a server could listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def wait_until_listening(port: int, server: Program) -> None:
    """Return when `server` accepts connections.

    Raises:
        DemoError: it ended, or did not listen in time.
    """
    deadline = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise DemoError("the server ended before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise DemoError(f"the server did not listen on port {port} within {LISTEN_SECONDS:.0f} s")


def show(lines: queue.Queue[Line], once: bool, seconds: float) -> None:
    """Print what the programs say; with `once` only until a message went there and back.

    Raises:
        DemoError: a program ended, or there was no exchange within `seconds`.
    """
    deadline = time.monotonic() + seconds
    sent: set[str] = set()
    exchanged = False
    while True:
        try:
            name, text = lines.get(timeout=None if exchanged else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise DemoError(f"no message went there and back within {seconds:.0f} s") from None
        if text is None:
            raise DemoError(f"the {name} ended by itself")
        print(f"{name} | {text}", flush=True)
        if text.startswith(SERVER_GOT):
            sent.add(text.removeprefix(SERVER_GOT))
        elif text.startswith(DEVICE_GOT) and text.removeprefix(DEVICE_GOT) in sent:
            exchanged = True
            if once:
                return


@contextlib.contextmanager
def running(python: Path, port: int) -> Iterator[queue.Queue[Line]]:
    """Run the server and the device of the README, started one after the other and stopped in reverse."""
    lines: queue.Queue[Line] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="iotio-demo-") as folder, contextlib.ExitStack() as stack:
        for name, heading in (("server", readme.QUICKSTART_SERVER), ("device", readme.QUICKSTART_DEVICE)):
            file = Path(folder) / f"{name}.py"
            file.write_text(readme.on_port(readme.quickstart(heading), port), encoding="utf-8")
            program = Program(name, python, file, lines)
            stack.callback(program.stop)
            if name == "server":
                try:
                    wait_until_listening(port, program)
                except DemoError:
                    program.stop()
                    _flush(lines)
                    raise
        yield lines


def _flush(lines: queue.Queue[Line]) -> None:
    while not lines.empty():
        name, text = lines.get()
        if text is not None:
            print(f"{name} | {text}", flush=True)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status: 0, or 1 where it did not work."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after one message there and back (status 0)")
    parser.add_argument("--port", type=int, help="port of the server (default 5000, or a free one)")
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds until a message must have gone there and back"
    )
    options = parser.parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        python = project_environment("gevent")
        port = choose_port(options.port)
        say(f"server and device of README.md, port {port}" + ("" if options.once else "; Ctrl-C ends it"))
        with running(python, port) as lines:
            show(lines, options.once, options.timeout)
    except (SetupError, DemoError) as error:
        print(f"scripts/demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped")
    else:
        say("a message went there and back")
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
