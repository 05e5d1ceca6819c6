"""`iotio run --reload`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from iotio.cli.reload import changed, snapshot
from tests.load.harness import Device
from tests.support.processes import START_SECONDS, Program

from .program import IOTIO, PLAIN, iotio_run, port_of, told_to_go


def test_reload(folder: Path) -> None:
    with iotio_run(folder, "server", "--port", "0", "--reload") as server:
        port = port_of(server)
        with Device(port, "before") as device:
            device.echo("x")
            seen = len(server.lines)
            (folder / "server.py").write_text(PLAIN.replace("return message", "return 'new ' + message"))
            told_to_go(device)
        with Device(port, "after") as device:  # not refused, whenever it comes
            device.send("echo", "x")
            assert device.packet(START_SECONDS) == ("echo", "new x")
            assert "server.py has changed: restarting" in server.lines
            assert "gone before server_shutdown" in server.lines
            assert port_of(server, start=seen) == port
            began = time.monotonic()
            server.signal(signal.SIGINT)
            told_to_go(device)
            assert server.wait() == 0
        assert time.monotonic() - began < 2
        assert "Traceback" not in server.output


WORK = """
import os

print("imported", flush=True)

@manager.event
def on_start():
    print("started", os.getpid(), flush=True)

@manager.every(0.01)
def work():
    print("works", os.getpid(), flush=True)

@manager.event
def on_stop():
    print("stopped", os.getpid(), flush=True)
"""


def test_work_is_done_by_the_process_that_serves(folder: Path) -> None:
    (folder / "server.py").write_text(PLAIN + WORK)
    with iotio_run(folder, "server", "--port", "0", "--reload") as server:
        server.wait_line("works", START_SECONDS)
        seen = len(server.lines)
        (folder / "server.py").write_text(PLAIN + WORK + "\n")
        server.wait_line("imported", START_SECONDS, start=seen)
        server.wait_line("works", START_SECONDS, start=server.lines.index("imported", seen))
        assert server.terminate() == 0
        lines = [line for line in server.lines if line.startswith(("started", "stopped", "works"))]
        first, second = dict.fromkeys(line.split()[1] for line in lines)
        assert str(server.process.pid) not in (first, second)
        for process in (first, second):
            its = [line.split()[0] for line in lines if line.split()[1] == process]
            assert (its[0], its[-1]) == ("started", "stopped")
            assert set(its[1:-1]) == {"works"}


def test_reload_waits_for_broken_code_to_be_mended(folder: Path) -> None:
    with iotio_run(folder, "server.py", "--port", "0", "--reload") as server:
        port = port_of(server)
        (folder / "server.py").write_text("x = (")
        server.wait_line("It starts again when a file changes", START_SECONDS)
        assert "SyntaxError: '(' was never closed" in server.output
        (folder / "server.py").write_text(PLAIN)
        with Device(port, "d", timeout=START_SECONDS) as device:
            device.echo("x")
        assert server.terminate() == 0


def test_reload_ends_with_ctrl_c_of_a_terminal(folder: Path) -> None:
    """Which signals both processes."""
    command = [*IOTIO, "run", "server", "--port", "0", "--reload"]
    with Program(["setsid", *command], folder=folder) as server:
        with Device(port_of(server), "d") as device:
            device.echo("x")
            os.killpg(server.process.pid, signal.SIGINT)
            told_to_go(device)
            assert server.wait() == 0
        assert "Traceback" not in server.output


def test_reload_leaves_no_server_when_it_is_killed(folder: Path) -> None:
    with iotio_run(folder, "server", "--port", "0", "--reload") as server:
        with Device(port_of(server), "d") as device:
            device.echo("x")
            server.signal(signal.SIGKILL)
            told_to_go(device)
        assert server.wait() == -signal.SIGKILL
        server.wait_line("gone d server_shutdown")


def test_what_reload_watches(tmp_path: Path) -> None:
    seen = ["a.py", "sub/b.py"]
    for path in [*seen, "c.txt", ".hidden/d.py", "__pycache__/e.py", "venv/pyvenv.cfg", "venv/lib/f.py"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    before = snapshot([str(tmp_path)])
    assert sorted(before) == [str(tmp_path / path) for path in seen]
    assert changed(before, snapshot([str(tmp_path)])) is None
    (tmp_path / "sub/b.py").write_text("x = 1")
    written = snapshot([str(tmp_path)])
    assert changed(before, written) == str(tmp_path / "sub/b.py")
    (tmp_path / "a.py").unlink()
    assert changed(written, snapshot([str(tmp_path)])) == str(tmp_path / "a.py")
    (tmp_path / "new.py").touch()
    assert changed(written, snapshot([str(tmp_path)])) == str(tmp_path / "a.py")
